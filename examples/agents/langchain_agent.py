# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain>=1.5,<2", "langchain-mcp-adapters>=0.3.2,<0.4"]
# ///
"""A LangChain agent that reports on customer feedback with three tools: deduplicate, cluster, classify.

A scripted model stands in for a language model, so this runs without a key: it reads each answer and computes the
next call from it. For a real model, install its provider, for instance ``langchain-anthropic``, and write::

    agent = create_agent("anthropic:claude-sonnet-4-5", tools)

The command ``mcp-server-embeddings`` must be on the PATH. It needs its own environment, because
langchain-mcp-adapters needs mcp 1 and the server mcp 2.
"""

import asyncio
import json
import os
from typing import Self

from feedback import TASK, Call, follow
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langsmith import tracing_context


def answered(messages: list[BaseMessage]) -> list[ToolMessage]:
    """Return the tools' answers so far."""
    return [message for message in messages if isinstance(message, ToolMessage)]


def called(call: Call, number: int) -> ToolCall:
    """Convert a call to LangChain's form; its id links the answer to it."""
    return ToolCall(name=call.tool, args=call.arguments, id=f"call {number}")


class ScriptedModel(BaseChatModel):  # type: ignore[misc]  # where this is checked, langchain is not installed
    """A chat model that follows the script."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, *_: object, **__: object) -> Self:
        """Ignore the tools: the script knows them."""
        return self

    def _generate(self, messages: list[BaseMessage], *_: object, **__: object) -> ChatResult:
        answers = answered(messages)
        for answer in answers:
            if answer.status == "error":  # a language model would correct its call
                raise ValueError(answer.text)
        step = follow([json.loads(answer.text) for answer in answers])
        message = (
            AIMessage("", tool_calls=[called(step, len(answers))]) if isinstance(step, Call) else AIMessage(str(step))
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


async def main() -> None:
    client = MultiServerMCPClient(
        {
            "embeddings": {
                "transport": "stdio",
                "command": "mcp-server-embeddings",
                "args": [],
                # Without ``env``, a server gets only a few variables; its options may be among the others.
                "env": dict(os.environ),
            }
        }
    )
    # Use one session for all calls: ``client.get_tools()`` would start the server and load the model for each.
    async with client.session("embeddings") as session:
        tools = await load_mcp_tools(session)
        agent = create_agent(ScriptedModel(), tools)
        with tracing_context(enabled=False):  # send nothing to LangSmith, even if LANGSMITH_TRACING is set
            result = await agent.ainvoke({"messages": [HumanMessage(TASK)]})
    print(result["messages"][-1].text)
    print("\nTools called:", *(answer.name for answer in answered(result["messages"])))


if __name__ == "__main__":
    asyncio.run(main())
