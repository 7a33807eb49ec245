"""What pictures show, how they are rendered, and what training never sees."""

import random

import numpy as np

from training import measures, prompts
from training.scenes import (
    COLOURS,
    LANDSCAPES,
    Scene,
    Scenes,
    centred,
    is_held_out,
    is_held_out_pair,
    may_train,
    side_by_side,
    single,
    stacked,
    three_of,
)
from training.sprites import SIZE, Sprites
from training.things import Thing

BALL, BOX, HILL, BAR = range(4)


def test_a_scene_is_rendered_in_its_colours(sprites: Sprites) -> None:
    picture = sprites.render(single(BALL, "blue", "green"))
    assert picture.shape == (SIZE, SIZE, 3)
    assert measures.named(measures.background_of(picture)) == "blue"
    assert measures.nearest_tint(picture, BALL, "blue", sprites) == "green"


def test_a_mirrored_scene_is_the_mirror_image(sprites: Sprites) -> None:
    plain = sprites.render(Scene((centred(HILL),)))
    mirrored = sprites.render(Scene((centred(HILL, mirrored=True),)))
    assert (plain[:, ::-1] == mirrored).all()


def test_a_flat_look_is_the_drawing(sprites: Sprites) -> None:
    picture = sprites.render(Scene((centred(BALL, flat=True),)))
    assert tuple(picture[SIZE // 2, SIZE // 2]) == (255, 99, 71)


def test_two_things_stand_side_by_side_and_one_above_the_other(sprites: Sprites) -> None:
    pair = sprites.render(Scene(side_by_side(centred(BOX), centred(BAR)), layout="pair"))
    left, right = pair[SIZE // 2, SIZE // 4], pair[SIZE // 2, 3 * SIZE // 4]
    assert left[2] > left[0]  # a blue box
    assert right[0] > right[2]  # a golden bar
    stack = sprites.render(Scene(stacked(centred(BAR), centred(BOX)), layout="stack"))
    assert stack[SIZE // 4, SIZE // 2, 0] > stack[SIZE // 4, SIZE // 2, 2]
    assert stack[3 * SIZE // 4, SIZE // 2, 2] > stack[3 * SIZE // 4, SIZE // 2, 0]


def test_three_of_a_kind_do_not_touch(sprites: Sprites) -> None:
    picture = sprites.render(Scene(three_of(centred(BOX)), "black", "three"))
    blue = picture[..., 2] > 120
    assert not blue[SIZE // 2 : SIZE // 2 + 3].any()
    assert not blue[SIZE // 2 + 4 :, SIZE // 2 - 2 : SIZE // 2 + 2].any()
    assert blue.mean() > 0.3


def test_every_landscape_is_a_picture_of_its_own(sprites: Sprites) -> None:
    pictures = [sprites.render(single(BALL, name)) for name in LANDSCAPES]
    for i, one in enumerate(pictures):
        for other in pictures[i + 1 :]:
            assert np.abs(one.astype(int) - other).mean() > 5


def test_training_never_sees_what_is_held_out() -> None:
    things = [Thing(name) for name in ("cat", "dog", "owl", "bee", "fox", "pig")]
    rng = random.Random(3)
    seen = [Scenes(things, rng).training(rng.randrange(6)) for _ in range(2000)]
    assert {s.layout for s in seen} == {"single", "pair", "two", "three", "stack"}
    for scene in seen:
        labels = [things[p.thing].label for p in scene.things]
        assert not any(is_held_out(label, scene.background, "background") for label in labels)
        assert not is_held_out_pair(labels[0], labels[-1])
    held = [
        single(i, colour)
        for i, thing in enumerate(things)
        for colour in COLOURS
        if is_held_out(thing.label, colour, "background")
    ]
    assert held
    assert not any(may_train(things, scene) for scene in held)


def test_the_prompts_ask_for_what_is_held_out() -> None:
    read = prompts.read()
    assert len({prompt.text for prompt in read}) > 400
    assert sum(prompt.scene.layout == "pair" for prompt in read) == prompts.PAIRS
    for prompt in read:
        assert prompt.scene.background in prompt.text
        assert all(p.tint is None or p.tint in prompt.text for p in prompt.scene.things)
