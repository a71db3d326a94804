"""Texts for the tests, written for this project: themes of five texts each, and rewordings."""

THEMES: dict[str, list[str]] = {
    "delivery": [
        "The parcel arrived two weeks late.",
        "My package still has not been delivered.",
        "Shipping took far too long this time.",
        "The courier left the box at the wrong door.",
        "When will my order finally be shipped?",
    ],
    "battery": [
        "The battery is empty after two hours.",
        "My phone needs charging three times a day.",
        "The battery drains overnight even when idle.",
        "Charging the battery takes all evening.",
        "A full charge no longer lasts a day.",
    ],
    "garden": [
        "Tomatoes need sun and a lot of water.",
        "I planted roses along the garden fence.",
        "The lawn turned brown during the drought.",
        "Prune the apple tree in late winter.",
        "Slugs have eaten all the lettuce in the garden.",
    ],
    "orchestra": [
        "The violins played the slow movement beautifully.",
        "The conductor lifted her baton and the orchestra began.",
        "The symphony ended with a thunder of drums.",
        "A cello concerto opened the evening concert.",
        "The orchestra rehearsed the new symphony all day.",
    ],
}

TEXTS = [text for theme in THEMES.values() for text in theme]

REWORDED = [
    ("The meeting was moved to Friday.", "They moved the meeting to Friday."),
    ("The server must answer within two seconds.", "The server has to respond within two seconds."),
    ("Users can reset their password by e-mail.", "A user can reset the password via email."),
    ("All data is stored encrypted.", "All data has to be stored in encrypted form."),
]

COMPONENTS = [0.25, 0.5, 1.0, 0.75, 0.1, -0.5, 0.9]
"""Of vectors in property tests: few different ones, so that ties and equal vectors come up."""

SUBJECTS = ("The clerk", "A farmer", "My neighbour", "The pilot", "Our teacher", "The nurse", "A tourist", "The baker")
ACTIONS = ("lost", "sold", "found", "painted", "repaired", "borrowed", "forgot", "bought", "cleaned", "hid")
THINGS = ("a bicycle", "two tickets", "an old map", "the lantern", "some bread")
TIMES = ("yesterday", "in spring", "before dinner", "at the station", "on Monday")


def sentences(count: int) -> list[str]:
    """Different plain sentences, up to 2,000; the same ones every time."""
    every = [
        f"{subject} {action} {thing} {time}."
        for thing in THINGS
        for time in TIMES
        for action in ACTIONS
        for subject in SUBJECTS
    ]
    return every[:count]
