// Runs the page inside a client (MCP Apps, revision 2026-01-26). JSON-RPC messages carry a tool's result to the page.

const DATA_KEY = "mcp-server-embeddings/page";

function connect(page) {
  if (window.parent === window) {
    setMain("", emptyState("Nothing to show", "This page shows data that a client passes to it."));
    return;
  }
  let lastId = 0;
  let canUpdateContext = false;
  const waiting = new Map();
  const post = (message) => window.parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
  const notify = (method, params = {}) => post({ method, params });
  const request = (method, params) => new Promise((resolve) => {
    waiting.set(++lastId, resolve);
    post({ id: lastId, method, params });
  });

  const handlers = {
    "ui/notifications/tool-result": (result) => show(pageData(page, result)),
    "ui/notifications/tool-cancelled": () => setMain("", emptyState("Cancelled", "The call was cancelled.")),
    "ui/notifications/host-context-changed": applyTheme,
  };
  window.addEventListener("message", ({ source, data }) => {
    if (source !== window.parent || !data || data.jsonrpc !== "2.0") return;
    if (!data.method) {
      waiting.get(data.id)?.(data.result);
      waiting.delete(data.id);
    } else if (data.method in handlers) handlers[data.method](data.params || {});
    else if (data.id !== undefined) answer(post, data);
  });
  document.addEventListener("chosen", ({ detail: ids }) => {
    if (canUpdateContext && ids.length) request("ui/update-model-context", { content: [{ type: "text", text: `Ids selected in the picture: ${JSON.stringify(ids)}` }] });
  });
  setMain("", emptyState("Waiting for the result", ""));
  new ResizeObserver(() => notify("ui/notifications/size-changed", { width: document.documentElement.scrollWidth, height: preferredHeight() })).observe(document.body);
  request("ui/initialize", { protocolVersion: "2026-01-26", appInfo: { name: `mcp-server-embeddings ${page}`, version: "1" }, appCapabilities: {} }).then((result) => {
    canUpdateContext = Boolean(result?.hostCapabilities?.updateModelContext);
    applyTheme(result?.hostContext || {});
    notify("ui/notifications/initialized");
  });
}

function answer(post, { id, method }) {
  const known = method === "ping" || method === "ui/resource-teardown";
  post(known ? { id, result: {} } : { id, error: { code: -32601, message: `unknown method ${method}` } });
}

// Lists have the height of their content; a plot has no intrinsic height.
function preferredHeight() {
  const plot = document.querySelector(".plot");
  return plot ? 640 : document.getElementById("main").scrollHeight + document.getElementById("top").scrollHeight;
}

function applyTheme({ theme }) {
  if (theme !== "light" && theme !== "dark") return;
  document.documentElement.dataset.theme = theme;
  document.dispatchEvent(new Event("themechange"));
}

// Returns the data to show for a tool's result: the server's data for this page, or else the answer alone.
function pageData(page, result) {
  const data = result._meta?.[DATA_KEY];
  if (data) return data;
  const text = (result.content || []).map((block) => block.text || "").join(" ");
  const content = result.structuredContent;
  if (result.isError || !content) return { page: "message", title: "The tool reports an error", text };
  if (content.running) return { page: "message", title: "Still running", text };
  return page === "cluster" || page === "similarity" ? { page: "message", title: "No picture", text: "The client did not pass on the data of this picture; the command mcp-server-embeddings view shows it." } : { page, answer: content, left: emptySide("left"), right: emptySide("right") };
}

function emptySide(label) {
  return { label, ids: [], texts: [] };
}

function showMessage({ title, text }) {
  setMain("", emptyState(title, shown(text)));
}
