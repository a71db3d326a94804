// Selects the page, and gets its data from this document or from the client that shows it.

const DRAWN = {
  cluster: (data) => new ItemMap(data),
  similarity: (data) => new HeatMap(data),
  align: showAlign,
  deduplicate: showDuplicates,
  message: showMessage,
};

async function start() {
  const { page } = document.documentElement.dataset;
  const text = await unpack("data");
  if (document.getElementById("library").textContent) await loadLibrary();
  if (text) show(JSON.parse(text));
  else connect(page);
}

function show(data) {
  DRAWN[data.page](data);
  document.documentElement.dataset.state = "shown";
}

start();
