"""Texts for the tests, written for this project: themes of five texts each, rewordings, questions, sentences."""

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

QUESTIONS = [
    ("how long does the battery last", "The battery is empty after two hours."),
    ("when does the shop open", "Our store welcomes customers from nine in the morning on weekdays."),
    ("who wrote the report", "The quarterly report was prepared by Anna Keller."),
    ("refund policy", "Money is returned within fourteen days if the item is unused."),
    ("how do I reset my password", "Click on the link in the e-mail to choose new login credentials."),
    ("side effects of the vaccine", "Some people feel tired or have a sore arm after the injection."),
    ("why is the sky blue", "Short wavelengths of sunlight are scattered more strongly by air molecules."),
    ("cheap places to eat downtown", "The noodle bar near the town hall serves lunch for five euros."),
    ("parental leave rules", "Mothers and fathers may each take up to fourteen months off after a birth."),
    ("database backup schedule", "Every night at two the PostgreSQL server is dumped to the second data centre."),
    ("causes of the first world war", "The assassination in Sarajevo set off a chain of alliances in 1914."),
    ("how to water tomatoes", "Tomatoes need sun and a lot of water."),
    ("maximum file size for upload", "Attachments may not be larger than 20 megabytes."),
    ("is the museum free for children", "Visitors under twelve do not need a ticket."),
    ("error 504 in production", "The gateway timed out because the upstream service was overloaded."),
    ("train to Berlin", "The express leaves platform 4 at 8:12 and reaches the capital at noon."),
    ("python list sorting", "Call sort() on the list or sorted() for a copy in ascending order."),
    ("best time to prune apple trees", "Prune the apple tree in late winter."),
    ("number of employees", "The company has a staff of roughly three thousand people."),
    ("what did the patient complain about", "She reported headaches and dizziness over the past week."),
    ("tax deadline", "The return must be filed by the end of July."),
    ("climate of Iceland", "Winters there are mild for the latitude, summers cool and windy."),
    ("who won the match", "The home team beat its rivals by three goals to one."),
    ("ingredients for pancakes", "Mix flour, milk, eggs and a pinch of salt."),
    ("data retention", "Logs are deleted after ninety days."),
    ("how fast is the new processor", "The chip runs at 4.2 gigahertz and has eight cores."),
    ("contract termination notice", "Either party may end the agreement with three months' warning."),
    ("symptoms of flu", "Fever, cough and aching limbs come on suddenly."),
    ("where are the keys", "I left them on the kitchen table next to the bread."),
    ("sustainable packaging", "All boxes are made of recycled cardboard without plastic."),
]
"""Questions as people type them, each with an answer that repeats few of its words."""

COMPONENTS = [0.25, 0.5, 1.0, 0.75, 0.1, -0.5, 0.9]
"""Components of vectors in property tests: few values, so that ties and equal vectors occur."""

SUBJECTS = ("The clerk", "A farmer", "My neighbour", "The pilot", "Our teacher", "The nurse", "A tourist", "The baker")
ACTIONS = ("lost", "sold", "found", "painted", "repaired", "borrowed", "forgot", "bought", "cleaned", "hid")
THINGS = ("a bicycle", "two tickets", "an old map", "the lantern", "some bread")
TIMES = ("yesterday", "in spring", "before dinner", "at the station", "on Monday")


def sentences(count: int) -> list[str]:
    """Return up to 2,000 different plain sentences, the same ones every time."""
    every = [
        f"{subject} {action} {thing} {time}."
        for thing in THINGS
        for time in TIMES
        for action in ACTIONS
        for subject in SUBJECTS
    ]
    return every[:count]
