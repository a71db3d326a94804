"""Search by words: the terms of texts and queries, in the languages of people and of programs."""

from collections.abc import Sequence

import pytest

from mcp_server_embeddings.store import WordIndex
from mcp_server_embeddings.store.analysis import STEMMERS, passage_terms, query_words

PASSAGES = {
    "English": ("The houses were sold by their owners in autumn.", "owner of a house"),
    "German": ("Die Häuser wurden im Herbst von ihren Besitzern verkauft.", "Haus Besitzer"),
    "French": ("Les maisons ont été vendues par leurs propriétaires à l'automne.", "maison PROPRIETAIRE"),
    "Spanish": ("Las naciones firmaron los acuerdos de educación en otoño.", "nación educacion"),
    "Italian": ("Le case sono state vendute dai loro proprietari nella città.", "proprietario citta"),
    "Portuguese": ("Os carros são vendidos para as nações e as regiões.", "carro região"),
    "Dutch": ("De fietsen van de studenten zijn niet in het gebouw.", "fiets student"),
    "Swedish": ("Cyklarna och båtarna är inte till salu på hösten.", "cyklar bat"),
    "Polish": ("Domy w Łodzi były sprzedawane przez właścicieli i nie stoją puste.", "domy lodzi"),
    "Russian": ("Дома были проданы владельцами, и это не новость.", "дом новости"),
    "Arabic": ("الكتب في البيت على الطاولة", "كتب بيت"),
    "Hindi": ("यह किताबें मेज पर हैं और वह कुर्सी पर है", "किताब"),
    "Chinese": ("我们在北京大学学习机器翻译的方法", "我想学习翻译"),
    "Japanese": ("東京の大学で機械翻訳を研究しています", "翻訳はどう研究するか"),
    "Korean": ("서울의 대학교에서 번역을 공부합니다", "대학교 번역"),
    "Thai": ("นักเรียนอ่านหนังสือที่โรงเรียน", "หนังสือของครู"),
}
"""By language: a passage, and a query with other forms of its words, or with some of its words among others."""

NAMES = [
    "def getUserName(self): return self.name",
    "retries = config.max_retries",
    "The name of each user is shown.",
    "Code is hosted on github, more or less.",
    "import os.path",
    "HTTPServer answers",
]


def found(texts: Sequence[str], query: str) -> list[int]:
    with WordIndex(texts) as words:
        return words.matching(query, 10).keys


@pytest.mark.parametrize("language", PASSAGES)
def test_a_passage_is_found_in_its_language_among_others(language: str) -> None:
    texts = [passage for passage, _ in PASSAGES.values()]
    assert found(texts, PASSAGES[language][1])[:1] == [list(PASSAGES).index(language)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("getUserName", [0, 2]),
        ("getusername", [0]),
        ("get_user_name", [0, 2]),
        ("user", [2, 0]),
        ("max_retries", [1]),
        ("maxRetries", [1]),
        ("config.max_retries", [1]),
        ("retry", [1]),
        ("GitHub", [3]),
        ("os.path", [4]),
        ("server", [5]),
        ("httpserver", [5]),
    ],
)
def test_names_in_programs_are_found_whole_and_by_their_parts(query: str, expected: list[int]) -> None:
    assert found(NAMES, query) == expected


def looked_up(query: str, *languages: str) -> list[str]:
    return [word.terms[0] for word in query_words(query, languages or ["en"])]


@pytest.mark.parametrize(
    ("query", "languages", "words"),
    [
        ("What is the purpose of the lock?", ["en"], ["purpos", "lock"]),
        ("my order has not come", ["en"], ["order", "come"]),
        ("to be or not to be", ["en"], ["to", "be", "or", "not"]),
        ("what does `is` do in Python", ["en"], ["is", "python"]),
        ('who sang "let it be"', ["en"], ["sang", "let", "it", "be"]),
        ("the IT department", ["en"], ["it", "depart"]),
        ("WHAT IS THE PURPOSE", ["en"], ["purpos"]),
        ("is_valid and isValid", ["en"], ["is valid", "is valid"]),
        ("Wie ist die Lage der Häuser?", ["de", "en"], ["lag", "haus"]),
        ("die hard", ["en"], ["die", "hard"]),
        ("die hard", ["de"], ["hard"]),
        ("mmm unknown", ["fr"], ["mmm", "unknown"]),
    ],
)
def test_function_words_of_the_languages_present_are_not_looked_up(
    query: str, languages: Sequence[str], words: Sequence[str]
) -> None:
    assert looked_up(query, *languages) == words


def test_a_long_query_has_at_most_64_words() -> None:
    assert len(looked_up(" ".join(f"w{i}" for i in range(1000)))) == 64


@pytest.mark.parametrize("text", ["educacion", "educación", "EDUCACIÓN", "educacio\u0301n"])
def test_accents_and_case_make_no_difference(text: str) -> None:
    texts = [f"La {text} de los niños y de las niñas no es un lujo.", "El pan con queso no es para los gatos."]
    for query in ("educacion", "educación", "Educacio\u0301n"):
        assert found(texts, query) == [0]


def test_one_letter_of_a_script_without_spaces_is_found_wherever_it_stands() -> None:
    assert sorted(found(["水", "飲む水", "水を飲む", "火"], "水")) == [0, 1, 2]


def test_words_are_stemmed_by_the_language_of_their_passage() -> None:
    assert passage_terms("Die Häuser sind nicht teuer")[:3] == ["=de", "die", "haus"]
    assert passage_terms("The running houses")[:4] == ["=en", "the", "run", "hous"]
    assert passage_terms("x = list(range(3))")[0] == "=en"


def test_a_search_counts_words_and_not_their_forms_or_parts() -> None:
    with WordIndex([*NAMES, *(passage for passage, _ in PASSAGES.values())]) as words:
        assert words.matching("getUserName", 5).words == 1
        assert words.matching("houses and owners", 5).words == 2
        assert words.matching("houses of the owners", 5).complete
        assert not words.matching("houses of the unicorns", 5).complete
        assert words.matching("getUserName", 5).complete
        assert not words.matching("getUserAge", 5).complete


def test_every_stemmer_exists() -> None:
    for language in STEMMERS:
        assert query_words("word", [language])
