"""Who is followed: the largest steady person, whoever is larger for a moment."""

import numpy as np

from aniportrait.data.survey import Glance, leading_person
from aniportrait.face.detector import DetectedFace


def at(x, y, side):
    box = (float(x), float(y), float(x + side), float(y + side))
    return DetectedFace(np.zeros((478, 3), np.float32), np.zeros(52, np.float32), box)


def glances(*faces):
    return [
        Glance(8 * number, sorted(seen, key=lambda face: -face.area), b"")
        for number, seen in enumerate(faces)
    ]


def test_a_passer_by_who_is_larger_for_a_moment_is_not_followed():
    speaker = [at(100 + 5 * k, 100, 80) for k in range(10)]
    seen = [[face] for face in speaker]
    seen[4].append(at(300, 50, 150))
    person = leading_person(glances(*seen), None)
    assert person is not None
    assert [face.box[0] for _, face in person.seen] == [face.box[0] for face in speaker]
    assert len(person.others) == 1
    assert person.others[0] == 150 / 80


def test_two_people_keep_their_identity_though_their_sizes_change_places():
    left = [at(50, 100, 100 - 4 * k) for k in range(10)]
    right = [at(300, 100, 70 + 4 * k) for k in range(10)]
    person = leading_person(glances(*map(list, zip(left, right, strict=True))), None)
    assert person is not None
    assert {face.box[0] for _, face in person.seen} == {300.0}, "larger when summed"


def test_a_person_who_was_away_is_the_same_afterwards():
    seen = [[at(100, 100, 80)]] * 3 + [[]] * 4 + [[at(110, 105, 80)]] * 3
    person = leading_person(glances(*seen), None)
    assert person is not None
    assert [number for number, _ in person.seen] == [0, 1, 2, 7, 8, 9]


def test_the_box_of_the_source_says_who_is_meant():
    seen = [[at(50, 100, 120), at(300, 100, 60)]] * 5
    person = leading_person(glances(*seen), (280, 80, 380, 180))
    assert person is not None
    assert {face.box[0] for _, face in person.seen} == {300.0}
    assert leading_person(glances(*seen), (500, 0, 600, 100)) is None
    assert leading_person(glances([], []), None) is None
