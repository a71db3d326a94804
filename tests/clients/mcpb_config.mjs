// Prints the command by which a host starts an unpacked bundle with a user's settings: node mcpb_config.mjs FOLDER SETTINGS
import { readFile } from "node:fs/promises";
import { getMcpConfigForManifest } from "@anthropic-ai/mcpb";

const [folder, settings] = process.argv.slice(2);
const manifest = JSON.parse(await readFile(`${folder}/manifest.json`, "utf8"));
const config = await getMcpConfigForManifest({
  manifest,
  extensionPath: folder,
  systemDirs: {},
  userConfig: JSON.parse(settings),
  pathSeparator: "/",
});
console.log(JSON.stringify(config));
