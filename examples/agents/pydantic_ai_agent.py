# /// script
# requires-python = ">=3.11"
# dependencies = ["pydantic-ai-slim[mcp]>=2.68,<3"]
# ///
"""A pydantic-ai agent that reports on customer feedback with three tools: deduplicate, cluster, classify.

A scripted model stands in for a language model, so this runs without a key: it reads each answer and computes the
next call from it. For a real model, install its provider, for instance ``pydantic-ai-slim[anthropic]``, and write::

    agent = Agent("anthropic:claude-sonnet-4-5", toolsets=[server])

The command ``mcp-server-embeddings`` must be on the PATH; it may live in another environment.
"""

import os

from fastmcp.client.transports import StdioTransport
from feedback import TASK, Call, follow
from pydantic_ai import Agent, ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.function import AgentInfo, FunctionModel


def answered(messages: list[ModelMessage]) -> list[ToolReturnPart]:
    """Return the tools' answers so far."""
    return [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]


def scripted(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
    """Take one turn of the model: call the next tool, or report."""
    answers = answered(messages)
    for answer in answers:
        if answer.outcome != "success":  # a language model would correct its call
            raise ValueError(answer.content)
    step = follow([answer.content for answer in answers])
    if isinstance(step, Call):
        return ModelResponse(parts=[ToolCallPart(step.tool, step.arguments)])
    return ModelResponse(parts=[TextPart(str(step))])


def main() -> None:
    server = MCPToolset(
        # Without ``env``, a server gets only a few variables; its options may be among the others.
        # ``keep_alive=False``: the server ends with the run, which waits for it.
        StdioTransport("mcp-server-embeddings", args=[], env=dict(os.environ), keep_alive=False),
        init_timeout=60,  # seconds; a busy machine may need more than the default 5
    )
    agent = Agent(FunctionModel(scripted), toolsets=[server])
    result = agent.run_sync(TASK)
    print(result.output)
    print("\nTools called:", *(answer.tool_name for answer in answered(result.all_messages())))


if __name__ == "__main__":
    main()
