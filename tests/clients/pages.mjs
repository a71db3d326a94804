// Opens pages in Chromium and prints one JSON object with the observations of each. Arguments: the browser, and a JSON
// file: {name: {path, theme, size, framed, steps}}; `STEPS` has the possible steps.
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axe = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const [browserPath, planPath] = process.argv.slice(2);
const plan = JSON.parse(await readFile(planPath, "utf8"));

const browser = await chromium.launch({
  executablePath: browserPath,
  args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu-sandbox", "--use-gl=angle", "--use-angle=swiftshader"],
});

// The page's content security policy forbids adding a script; it does not apply to the debugger's protocol.
async function faults(context, page) {
  const debug = await context.newCDPSession(page);
  const expression = `${axe}; axe.run().then((found) => found.violations.map(({ id, nodes }) => [id, nodes.map(({ target }) => target.join(" "))]))`;
  const { result } = await debug.send("Runtime.evaluate", { expression, awaitPromise: true, returnByValue: true });
  return result.value;
}

const STEPS = {
  fill: (page, [selector, text]) => page.fill(selector, text),
  press: (page, [selector, key]) => page.press(selector, key),
  click: (page, [selector]) => page.click(selector),
  drag: async (page, [x, y, toX, toY]) => {
    const box = await page.locator(".plot").boundingBox();
    await page.mouse.move(box.x + x * box.width, box.y + y * box.height);
    await page.mouse.down();
    await page.mouse.move(box.x + toX * box.width, box.y + toY * box.height, { steps: 4 });
    await page.mouse.up();
  },
  until: async (page, [selector, text]) => {
    const wanted = ([where, part]) => document.querySelector(where)?.textContent.includes(part);
    await page.waitForFunction(wanted, [selector, text]);
  },
  text: async (page, [selector]) => page.locator(selector).allInnerTexts(),
  attribute: async (page, [selector, name]) => page.locator(selector).first().getAttribute(name),
  evaluate: (page, [code]) => page.evaluate(code),
  theme: (page, [colorScheme]) => page.emulateMedia({ colorScheme }),
  size: (page, [width, height]) => page.setViewportSize({ width, height }),
  picture: async (page, [path]) => { await page.screenshot({ path }); },
  axe: (page, _, context) => faults(context, page),
};

// With `framed`, the page is in a frame of another page, which talks to it as a client does; the steps run in the frame.
async function opened({ path, theme = "light", size = [1280, 800], framed = false, steps }) {
  const context = await browser.newContext({
    colorScheme: theme, viewport: { width: size[0], height: size[1] }, permissions: ["clipboard-read", "clipboard-write"],
  });
  const page = await context.newPage();
  const seen = { requests: [], errors: [], results: [] };
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("console", (message) => { if (message.type() === "error") seen.errors.push(message.text()); });
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("dialog", (dialog) => { seen.errors.push(`dialog ${dialog.message()}`); dialog.dismiss(); });
  await page.goto(path);
  const shown = framed ? await (await page.waitForSelector("iframe")).contentFrame() : page;
  await shown.waitForSelector("[data-state=shown]");
  for (const [step, ...values] of steps) seen.results.push((await STEPS[step](shown, values, context)) ?? null);
  if (framed) seen.results.push(await page.evaluate("heard"));
  await context.close();
  return seen;
}

const found = {};
for (const [name, pageOf] of Object.entries(plan)) found[name] = await opened(pageOf);
await browser.close();
process.stdout.write(JSON.stringify(found));
