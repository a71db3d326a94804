// Runs one session of the TypeScript SDK v1 with a server that it starts; prints its observations as JSON.
// Usage: node session_v1.mjs '{"NAME": "value"}' COMMAND ARGUMENT...   (the object is the client's `env` block)

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";

const [env, command, ...args] = process.argv.slice(2);
const transport = new StdioClientTransport({ command, args, env: JSON.parse(env) });
const seen = { progress: [] };
// v1 reports the negotiated revision only to its transport.
transport.setProtocolVersion = (version) => { seen.protocol = version; };

const client = new Client({ name: "session-v1", version: "1" });
const timeout = 120_000;
const call = (name, input, onprogress) => client.callTool({ name, arguments: input }, undefined, { timeout, onprogress });

await client.connect(transport, { timeout });
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
