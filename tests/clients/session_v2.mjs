// Runs one session of the TypeScript SDK v2 with a server that it starts; prints its observations as JSON.
// Usage: node session_v2.mjs '{"NAME": "value"}' COMMAND ARGUMENT...   (the object is the client's `env` block)

import { Client } from "@modelcontextprotocol/client";
import { StdioClientTransport } from "@modelcontextprotocol/client/stdio";

const [env, command, ...args] = process.argv.slice(2);
const transport = new StdioClientTransport({ command, args, env: JSON.parse(env) });
const seen = { progress: [] };

// "auto" first starts a separate process to ask for the revision, then the one for the session.
const client = new Client(
  { name: "session-v2", version: "1" },
  { versionNegotiation: { mode: "auto" } },
);
const timeout = 120_000;
const call = (name, input, onprogress) => client.callTool({ name, arguments: input }, { timeout, onprogress });

await client.connect(transport, { timeout });
seen.protocol = client.getNegotiatedProtocolVersion();
seen.server = client.getServerVersion();
seen.tools = (await client.listTools()).tools.map((tool) => tool.name);
const compared = { left: ["Apple"], right: ["Orange", "Lightning"] };
seen.similarity = await call("similarity", compared, ({ progress }) => seen.progress.push(progress));
seen.embed = await call("embed", { texts: ["Apple"] });
seen.status = await call("status", {});
seen.models = (await client.readResource({ uri: "embeddings://models" })).contents[0].text;
seen.guide = (await client.readResource({ uri: "embeddings://guide" })).contents[0].text;
seen.prompt = (await client.getPrompt({ name: "find_duplicates", arguments: { texts: "red" } })).messages[0].content.text;
const begun = { ref: { type: "ref/prompt", name: "find_duplicates" }, argument: { name: "keep", value: "l" } };
seen.completed = (await client.complete(begun)).completion.values;
seen.refused = await call("embed", { texts: [] });
await client.close();
console.log(JSON.stringify(seen));
