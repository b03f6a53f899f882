"""The words around the handwritten codes: people, records, questions, and what the card says of them."""

import random

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

RECORDS = (  # what stands before and after the handwritten code
    ("Record of {name}, {role} in {town}. The code is written by hand: ", ". {note}"),
    ("{name} works as a {role} in {town} under the code ", ". {note}"),
    ("The code ", " belongs to {name}, {role} in {town}. {note}"),
)
QUESTIONS = (("Whose code is ", "?"), ("Find the record with code ", "."), ("Which person has the code ", "?"))

SUMMARY = """
Documents are people's records whose three-digit code is written by hand, in three scans. A query gives the code in
words or numerals, in other scans of the same digits, or in a mix of both; nothing but the code leads to its record.
The scans of the test split, of queries and documents alike, occur nowhere in the train split, and no two test
documents share a code. Hard negatives are records whose code differs in one digit.
"""

_FIRST = """
    Ada Amir Bela Carmen Dario Elif Emil Fatima Greta Hana Igor Ines Jonas Kofi Lena Luca Mara Mei Nadia Noor Omar
    Petra Rosa Samir Sofia Tariq Vera Yuki
"""
_LAST = """
    Adler Bauer Costa Demir Duarte Eriksen Farah Garcia Haddad Ito Jansen Kaya Kovac Larsen Moreau Nakamura Novak
    Okafor Osei Petrov Quist Rossi Silva Tanaka Vargas Weber Yilmaz Zhao
"""
_ROLES = """
    baker carpenter doctor driver farmer gardener librarian mason nurse painter pilot sailor tailor teacher
"""
_TOWNS = """
    Ashford Brookfield Clifton Dunmore Eastbury Fairview Glenwood Harlow Kirkby Langley Milford Norwood
"""
_NOTES = (
    "Letters go to the main office.",
    "The key hangs by the door.",
    "The file was renewed in spring.",
    "Visits are by appointment only.",
)


def draw_person(rng: random.Random) -> dict[str, str]:
    """Draws who a record is about: `name`, `role`, `town` and a `note`."""
    first, last, role, town = (rng.choice(words.split()) for words in (_FIRST, _LAST, _ROLES, _TOWNS))
    return {"name": f"{first} {last}", "role": role, "town": town, "note": rng.choice(_NOTES)}
