"""``mcp-server-embeddings skill``: print the Agent Skill that teaches an agent when to call which tool."""

import argparse
import sys
from importlib.resources import files

from mcp_server_embeddings.config import Settings


def run(_: Settings, __: argparse.Namespace) -> int:
    """Print ``SKILL.md``."""
    skill = files("mcp_server_embeddings") / "data" / "skill" / "embeddings" / "SKILL.md"
    sys.stdout.write(skill.read_text(encoding="utf-8"))
    return 0
