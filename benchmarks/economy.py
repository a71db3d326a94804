"""Compare the characters a language model exchanges with the tools with the size of the data it would read instead.

    python benchmarks/economy.py --messages FILE --pairs FILE --documents FOLDER

- ``--messages``: a CSV file of short texts and their labels, such as BANKING77: columns ``text`` and ``label`` or
  ``category``. 300 messages of 12 labels are labelled with 5 examples each.
- ``--pairs``: a CSV file without header of sentence, sentence, similarity from 0 to 5, such as STSBenchmark. 400
  sentences with 60 paraphrase pairs are deduplicated; 15 pairs form two lists to join.
- ``--documents``: a folder in BEIR's layout. Up to 1,400 documents are searched with 12 of its queries, grouped into 20
  themes, and 40 of them condensed to 400 tokens.

Every task uses a real server over stdio, default answers, and as few calls as possible. Calls that embed the documents
beforehand are not counted. *in* is the JSON of all arguments, *out* the text of all answers, *data* the text that the
model would have read instead; *factor* is data over the sum of in and out. *right* is the quality of the result:
correct labels, after those in ``check`` have been corrected; pairs found; queries with a relevant document among five
hits.
"""

import argparse
import csv
import json
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from quality.rows import Row, distinct, read_rows
from server_process import OURS, MeasuredServer

from mcp_server_embeddings.reading.beir import read_retrieval_set

SEED = 0
LABELS, MESSAGES, EXAMPLES = 12, 300, 5
SENTENCES, PARAPHRASES, JOINED = 400, 60, 15
DOCUMENTS, QUERIES, THEMES, DIGESTED, DIGEST_TOKENS = 1_400, 12, 20, 40, 400

Answer = dict[str, Any]


@dataclass
class Task:
    """A task and its cost so far.

    Attributes:
        name: Description of the task.
        server: Server to call.
        data: Characters of the data.
        result: Quality of the result.
        calls: Number of calls.
        sent: Characters of arguments.
        received: Characters of answers.
    """

    name: str
    server: MeasuredServer
    data: int = 0
    result: str = ""
    calls: int = 0
    sent: int = 0
    received: int = 0

    def call(self, tool: str, **arguments: object) -> Answer:
        """Call a tool, repeatedly while it runs in the background."""
        while True:
            request = self.server.send("tools/call", {"name": tool, "arguments": arguments})
            result = self.server.answer(request)["result"]
            text: str = result["content"][0]["text"]
            self.calls += 1
            self.sent += len(json.dumps(arguments, ensure_ascii=False))
            self.received += len(text)
            if result.get("isError"):
                sys.exit(f"{self.name}: {text}")
            answer: Answer = json.loads(text)
            if not answer.get("running"):
                return answer

    def row(self) -> str:
        """Format a row of the table."""
        factor = self.data / (self.sent + self.received)
        costs = f"{self.calls} | {self.sent:,} | {self.received:,} | {self.data:,} | {factor:.1f} ×"
        return f"| {self.name} | {costs} | {self.result} |"


def write_csv(path: Path, names: Sequence[str], rows: Sequence[Sequence[object]]) -> int:
    """Write a table and return its number of characters."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return len(path.read_text(encoding="utf-8"))


def classify(task: Task, folder: Path, path: Path) -> None:
    """Label messages from examples of each label; those in ``check`` count as corrected."""
    rows, _ = read_rows(path)
    rng = random.Random(SEED)
    by_label: dict[str, list[Row]] = {}
    for row in distinct(rows):
        by_label.setdefault(row.label, []).append(row)
    labels = rng.sample(sorted(by_label), LABELS)
    shown = {label: rng.sample(by_label[label], EXAMPLES) for label in labels}
    others = [row for label in labels for row in by_label[label] if row not in shown[label]]
    messages = rng.sample(others, MESSAGES)
    task.data = write_csv(
        folder / "messages.csv", ["id", "text"], [(f"m{i}", row.text) for i, row in enumerate(messages)]
    )
    examples = {label: [row.text for row in texts] for label, texts in shown.items()}
    answer = task.call("classify", source="messages.csv#text", examples=examples)
    given = {key: label for label, keys in answer["labels"].items() for key in keys}
    checked = {entry["id"] for entry in answer["check"]}
    keys = [f"m{i}" for i in range(MESSAGES)]
    correct = sum(key in checked or given.get(key) == row.label for key, row in zip(keys, messages, strict=True))
    task.result = f"{correct / MESSAGES:.3f} after {len(checked)} checked"


def deduplicate(task: Task, folder: Path, pairs: Sequence[tuple[str, str, float]]) -> None:
    """Find paraphrase pairs among unrelated sentences."""
    rng = random.Random(SEED)
    paraphrases = [pair for pair in pairs if pair[2] >= 4.5 and pair[0] != pair[1]]
    wanted = rng.sample(paraphrases, PARAPHRASES)
    used = {text for left, right, _ in wanted for text in (left, right)}
    unrelated = list(dict.fromkeys(left for left, _, score in pairs if score < 3 and left not in used))
    sentences = [*used, *rng.sample(unrelated, SENTENCES - len(used))]
    sentences.sort()
    rng.shuffle(sentences)
    task.data = write_csv(folder / "sentences.csv", ["id", "text"], list(enumerate(sentences, 1)))
    answer = task.call("deduplicate", source="sentences.csv#text")
    grouped = {
        frozenset((sentences[int(left) - 1], sentences[int(right) - 1]))
        for group in answer["groups"]
        for left in group
        for right in group
        if left != right
    }
    hits = sum(frozenset(pair[:2]) in grouped for pair in wanted)
    task.result = f"{hits} of {PARAPHRASES} pairs, {len(grouped) - hits} others"


def join(task: Task, folder: Path, pairs: Sequence[tuple[str, str, float]]) -> None:
    """Match two lists of sentences one to one."""
    rng = random.Random(SEED + 1)
    wanted = rng.sample([pair for pair in pairs if 3.5 <= pair[2] < 5 and pair[0] != pair[1]], JOINED)
    order = list(range(JOINED))
    rng.shuffle(order)
    task.data = write_csv(folder / "left.csv", ["id", "text"], [(f"L{i}", pair[0]) for i, pair in enumerate(wanted)])
    task.data += write_csv(folder / "right.csv", ["id", "text"], [(f"R{i}", wanted[i][1]) for i in order])
    answer = task.call("align", left_source="left.csv#text", right_source="right.csv#text")
    matched = [(pair["left"], pair["right"]) for pair in answer["changed"]] + [tuple(p) for p in answer.get("same", [])]
    task.result = f"{sum(left[1:] == right[1:] for left, right in matched)} of {JOINED} pairs"


def documents(tasks: Mapping[str, Task], folder: Path, path: Path) -> None:
    """Search, group and condense documents, and print each row."""
    data = read_retrieval_set(path)
    ids = list(data.documents)[:DOCUMENTS]
    size = write_csv(folder / "documents.csv", ["id", "text"], [(key, data.documents[key].whole) for key in ids])
    answerable = [query for query, relevant in data.relevance.items() if set(relevant) <= set(ids)]
    queries = random.Random(SEED).sample(answerable, QUERIES)
    source = "documents.csv#text"
    Task("", tasks["search"].server).call("search", source=source, query="ready", top=1)
    task = tasks["search"]
    task.data = size
    answer = task.call("search", source=source, queries=[data.queries[query] for query in queries])
    hits = [{str(hit["id"]) for hit in result["hits"]} for result in answer["results"]]
    answered = sum(bool(hit & set(data.relevance[query])) for hit, query in zip(hits, queries, strict=True))
    task.result = f"{answered} of {QUERIES} queries, {sum(map(len, hits))} hits"
    print(task.row(), flush=True)
    task = tasks["themes"]
    task.data = size
    answer = task.call("cluster", source=source, clusters=THEMES)
    sizes = Counter({cluster["id"]: cluster["size"] for cluster in answer["clusters"]})
    task.result = f"{len(sizes)} themes of {min(sizes.values())} to {max(sizes.values())} documents"
    print(task.row(), flush=True)
    task = tasks["digest"]
    task.data = write_csv(
        folder / "few.csv", ["id", "text"], [(key, data.documents[key].whole) for key in ids[:DIGESTED]]
    )
    answer = task.call("condense", source="few.csv#text", max_tokens=DIGEST_TOKENS)
    task.result = f"{answer['tokens']} tokens of {len(answer['selected'])} documents"
    print(task.row(), flush=True)


def read_pairs(path: Path) -> list[tuple[str, str, float]]:
    """Read rows of sentence, sentence, similarity."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(left, right, float(score)) for left, right, score in csv.reader(file)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("messages", "pairs", "documents"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    options = parser.parse_args()
    names = {
        "classify": f"label {MESSAGES} messages, {LABELS} labels with {EXAMPLES} examples each",
        "deduplicate": f"find the duplicates of {SENTENCES} sentences",
        "search": f"{QUERIES} questions over up to {DOCUMENTS:,} documents, 5 hits each",
        "themes": f"{THEMES} themes of these documents",
        "digest": f"digest of {DIGESTED} documents in {DIGEST_TOKENS} tokens",
        "join": f"join two lists of {JOINED} sentences",
    }
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "files"
        folder.mkdir()
        server = MeasuredServer(OURS, "--allow-dir", str(folder), "--data-dir", str(Path(temporary) / "data"))
        tasks = {name: Task(described, server) for name, described in names.items()}
        pairs = read_pairs(options.pairs)
        server.call("similarity", left=["the model"], right=["is loaded"])
        print("| task | calls | in | out | data | factor | right |\n| --- | --- | --- | --- | --- | --- | --- |")
        classify(tasks["classify"], folder, options.messages)
        print(tasks["classify"].row(), flush=True)
        deduplicate(tasks["deduplicate"], folder, pairs)
        print(tasks["deduplicate"].row(), flush=True)
        join(tasks["join"], folder, pairs)
        print(tasks["join"].row(), flush=True)
        documents(tasks, folder, options.documents)
        server.end()


if __name__ == "__main__":
    main()
