"""The server says once that texts are mostly in a language which the model was not trained for."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from calls import call, structured
from fakes import FakeEncoder
from mcp_server_embeddings.config import DEFAULT_MODEL, Settings
from mcp_server_embeddings.engine.engine import Engine
from mcp_server_embeddings.engine.text_languages import TextLanguages, language

TEXTS = {
    "English": "The invoice has not been paid yet, and we are waiting for an answer.",
    "German": "Die Rechnung ist noch nicht bezahlt, und wir warten auf eine Antwort.",
    "French": "La facture n'est pas encore payée, et nous attendons une réponse.",
    "Spanish": "La factura todavía no está pagada y estamos esperando una respuesta.",
    "Italian": "La fattura non è ancora stata pagata e stiamo aspettando una risposta.",
    "Portuguese": "A fatura ainda não foi paga e estamos à espera de uma resposta.",
    "Dutch": "De rekening is nog niet betaald en wij wachten op een antwoord.",
    "Swedish": "Räkningen är inte betald ännu, och vi väntar på ett svar.",
    "Polish": "Rachunek nie został jeszcze zapłacony i czekamy na odpowiedź.",
    "Cyrillic script": "Счёт ещё не оплачен, и мы ждём ответа.",
    "Greek script": "Το τιμολόγιο δεν έχει πληρωθεί ακόμη.",
    "Arabic script": "لم يتم دفع الفاتورة بعد ونحن ننتظر الرد.",
    "Devanagari script": "बिल का भुगतान अभी तक नहीं हुआ है।",
    "Thai script": "ยังไม่ได้ชำระใบแจ้งหนี้",
    "Chinese or Japanese": "发票还没有付款，我们在等待答复。",
    "Korean": "청구서가 아직 지불되지 않았습니다.",
}


@pytest.mark.parametrize(("name", "text"), TEXTS.items(), ids=TEXTS)
def test_the_language_of_a_text_is_told_by_its_script_and_its_function_words(name: str, text: str) -> None:
    assert language(text) == name


@pytest.mark.parametrize("text", ["", "42", "Müller, Łódź", "x = f(y)"])
def test_of_texts_without_function_words_no_language_is_told(text: str) -> None:
    assert language(text) is None


def noted(texts: Sequence[str], model: str = DEFAULT_MODEL) -> list[str]:
    seen = TextLanguages()
    for text in texts:
        seen.see([text])
    return seen.note(model)


def test_what_is_said_names_the_language_and_what_to_do() -> None:
    (note,) = noted([TEXTS["German"]] * 15 + [TEXTS["English"]] * 5)
    assert "not in English (many in German)" in note
    assert "`pull multilingual`" in note
    assert "--model multilingual" in note


def test_nothing_is_said_of_a_few_texts_of_english_ones_or_of_a_model_that_knows_them() -> None:
    assert noted([TEXTS["German"]] * 19) == []
    assert noted([TEXTS["German"]] * 15 + [TEXTS["English"]] * 15) == []
    assert noted([TEXTS["German"]] * 50, "BAAI/bge-m3") == []
    assert noted([TEXTS["German"]] * 50, "someone/unknown") == []


def test_texts_of_long_ago_count_less_than_recent_ones() -> None:
    german, english = [TEXTS["German"]], [TEXTS["English"]]
    assert noted(german * 390 + english * 390) == []
    assert noted(english * 390 + german * 390)


def test_a_call_of_many_texts_is_looked_at_here_and_there() -> None:
    seen = TextLanguages()
    for _ in range(3):
        seen.see([TEXTS["English"]] + [TEXTS["Korean"]] * 1_999)
    assert "many in Korean" in seen.note(DEFAULT_MODEL)[0]


@pytest.mark.slow
def test_status_says_it_once(tmp_path: Path) -> None:
    with Engine(Settings(data_dir=tmp_path)) as own:
        structured(call(own, "embed", {"texts": [f"{TEXTS['German']} {number}" for number in range(8)]}))
        assert "notes" not in structured(call(own, "status", {}))
        for start in (8, 16):
            own.embedder().embed([f"{TEXTS['German']} {number}" for number in range(start, start + 8)])
        (note,) = structured(call(own, "status", {}))["notes"]
        assert "many in German" in note
        assert "notes" not in structured(call(own, "status", {}))


def test_texts_of_the_calibration_are_not_counted(tmp_path: Path) -> None:
    fake = FakeEncoder()
    with Engine(Settings(data_dir=tmp_path, cache_dir=tmp_path, no_cache=True), fake.load) as engine:
        engine.embedder().calibration()
        engine.embedder().embed([TEXTS["German"]] * 3)
        assert engine.text_languages.count() == 1
