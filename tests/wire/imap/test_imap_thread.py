import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkhead.wire.imap.sort import base_subject
from bulkhead.wire.imap.thread import (
    DEPTH_MAX,
    DUMMY,
    Node,
    Threaded,
    Threads,
    by_references,
    by_subject,
    message_ids,
    references_of,
    render,
)


def finish(steps: Threads) -> list[Node]:
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            roots: list[Node] = ended.value
            return roots


def mail(identifier: str, references: str = "", subject: str = "", sent: int | None = None) -> tuple[str, ...]:
    return identifier, references, subject, "" if sent is None else str(sent)


def threaded(mails: list[tuple[str, ...]]) -> list[Threaded]:
    found = []
    for at, (identifier, references, subject, sent) in enumerate(mails):
        base, is_reply = base_subject(subject)
        ids = tuple(word.encode() for word in references.split())
        found.append(Threaded(at, base.upper(), is_reply, int(sent) if sent else at, identifier.encode(), ids))
    return found


def references(*mails: tuple[str, ...]) -> str:
    numbers = list(range(1, len(mails) + 1))
    return b"".join(render(finish(by_references(threaded(list(mails)))), numbers)).decode()


def subjects(*mails: tuple[str, ...]) -> str:
    numbers = list(range(1, len(mails) + 1))
    return b"".join(render(finish(by_subject(threaded(list(mails)))), numbers)).decode()


def test_messages_of_one_subject_hang_from_the_earliest() -> None:
    mails = [mail("a", "", "x", 5), mail("b", "", "y", 2), mail("c", "", "Re: x", 1), mail("d", "", "x", 9)]
    assert subjects(*mails) == "(3 (1)(4))(2)"
    assert subjects(*mails[:3]) == "(3 1)(2)"
    assert subjects() == ""


def test_references_make_a_chain_and_siblings_stand_in_parentheses() -> None:
    # 1 <- 2 <- 3, and 4 answers 2 as well
    mails = [mail("a"), mail("b", "a"), mail("c", "a b"), mail("d", "a b")]
    assert references(*mails) == "(1 2 (3)(4))"


def test_a_missing_message_with_one_child_makes_way_for_it() -> None:
    assert references(mail("b", "a"), mail("c", "a b")) == "(1 2)"
    assert references(mail("a"), mail("c", "a b")) == "(1 2)"


def test_a_missing_message_with_several_children_stays_at_the_top_only() -> None:
    assert references(mail("b", "a"), mail("c", "a")) == "((1)(2))"
    assert references(mail("r"), mail("b", "r a"), mail("c", "r a")) == "(1 (2)(3))"


def test_a_missing_message_above_a_missing_one_is_pruned_as_well() -> None:
    assert references(mail("c", "a b"), mail("d", "a b")) == "((1)(2))"
    assert references(mail("c", "a b"), mail("d", "a e")) == "((1)(2))"


def test_the_order_of_arrival_does_not_matter_to_links() -> None:
    assert references(mail("c", "a b", "", 3), mail("b", "a", "", 2), mail("a", "", "", 1)) == "(3 2 1)"


def test_a_second_message_of_one_id_is_a_thread_of_its_own() -> None:
    assert references(mail("a"), mail("a"), mail("b", "a")) == "(1 3)(2)"


def test_references_in_a_circle_are_broken() -> None:
    assert references(mail("a", "b"), mail("b", "a")) == "(2 1)"
    assert references(mail("a", "a")) == "(1)"
    assert references(mail("a", "c b"), mail("b", "a c"), mail("c", "b a")).count("(") >= 1


def test_a_truncated_list_of_references_is_set_right_by_the_message_itself() -> None:
    # 3's References say that b follows a, b itself says that it follows x
    assert references(mail("a"), mail("x"), mail("c", "a b"), mail("b", "x")) == "(1)(2 4 3)"


def test_threads_are_ordered_by_the_date_of_their_first_message() -> None:
    assert references(mail("a", "", "", 9), mail("b", "", "", 3), mail("c", "b", "", 1)) == "(2 3)(1)"


def test_siblings_are_ordered_by_date() -> None:
    assert references(mail("a", "", "", 0), mail("b", "a", "", 9), mail("c", "a", "", 3)) == "(1 (3)(2))"


def test_a_reply_without_references_joins_the_thread_of_its_subject() -> None:
    assert references(mail("a", "", "x"), mail("b", "", "Re: x")) == "(1 2)"
    assert references(mail("b", "", "Re: x"), mail("a", "", "x")) == "(2 1)"


def test_two_messages_of_one_subject_that_are_no_replies_become_siblings() -> None:
    assert references(mail("a", "", "x"), mail("b", "", "x")) == "((1)(2))"
    assert references(mail("a", "", "Re: x"), mail("b", "", "Re: x"), mail("c", "", "Re: x")) == "((1)(2)(3))"


def test_a_message_joins_the_children_of_a_missing_one_with_its_subject() -> None:
    assert references(mail("b", "a", "x"), mail("c", "a", "x"), mail("d", "", "x")) == "((1)(2)(3))"


def test_two_missing_messages_of_one_subject_become_one() -> None:
    mails = [mail("b", "a", "x"), mail("c", "a", "x"), mail("e", "d", "x"), mail("f", "d", "x")]
    assert references(*mails) == "((1)(2)(3)(4))"


def test_messages_without_subject_are_not_gathered() -> None:
    assert references(mail("a"), mail("b")) == "(1)(2)"


def test_the_example_of_the_response_is_rendered() -> None:
    # RFC 5256 section 4: message 3 and its child 6, whose children are 4 with 23 below it, and 44 with 7 and 96
    six = Node(2, None, [Node(3, None, [Node(4)]), Node(5, None, [Node(6, None, [Node(7)])])])
    roots = [Node(0), Node(1, None, [six])]
    assert b"".join(render(roots, [2, 3, 6, 4, 23, 44, 7, 96])) == b"(2)(3 6 (4 23)(44 7 96))"
    assert b"".join(render([Node(DUMMY, None, [Node(0), Node(1)])], [3, 5])) == b"((3)(5))"


@pytest.mark.parametrize(
    ("value", "ids"),
    [
        (b"<a@b> <c@d>", [b"a@b", b"c@d"]),
        (b"<a@b><c@d>", [b"a@b", b"c@d"]),
        (b'<"01KF8JCEOCBS0045PS"@xxx.yyy.com>', [b"01KF8JCEOCBS0045PS@xxx.yyy.com"]),
        (b'<"a\\"b"@c>', [b'a"b@c']),
        (b"Your message of Monday", []),
        (b"<no-at> <a@b", []),
        (b"<a..b@docomo.ne.jp>", [b"a..b@docomo.ne.jp"]),
        (b"<a@b@c>", []),
    ],
)
def test_message_ids_are_read_and_normalised(value: bytes, ids: list[bytes]) -> None:
    assert message_ids(value) == ids


def test_in_reply_to_counts_where_references_has_no_id() -> None:
    assert references_of(b"<a@b> <c@d>", b"<e@f>") == (b"a@b", b"c@d")
    assert references_of(b"nothing", b"yours of <e@f> and <g@h>") == (b"e@f",)
    assert references_of(b"", b"") == ()


IDS = st.sampled_from("abcdefgh")


@given(
    st.lists(
        st.tuples(IDS, st.lists(IDS, max_size=4).map(" ".join), st.sampled_from(["", "x", "Re: x", "y"]), st.just("")),
        max_size=12,
    )
)
def test_every_message_is_in_the_threads_exactly_once(mails: list[tuple[str, ...]]) -> None:
    for text in (references(*mails), subjects(*mails)):
        words = text.replace("(", " ").replace(")", " ").split()
        assert sorted(map(int, words)) == list(range(1, len(mails) + 1))
        assert text.count("(") == text.count(")") and "()" not in text


def test_a_thread_as_deep_as_the_mailbox_is_no_trouble() -> None:
    mails = [mail(str(at), str(at - 1)) for at in range(20_000)]
    assert references(*mails).startswith("(1 2 3 4 ")
    assert references(*mails[::-1]).endswith(" 3 2 1)")


def test_many_threads_are_ordered_as_few_are() -> None:
    mails = [mail(str(at), "", f"s{at}", 5000 - at) for at in range(1300)]
    expected = "".join(f"({at})" for at in range(1300, 0, -1))
    assert references(*mails) == expected and subjects(*mails) == expected
    siblings = [mail("top"), *(mail(str(at), "top", "", 5000 - at) for at in range(1300))]
    assert references(*siblings) == "(1 " + "".join(f"({at})" for at in range(1301, 1, -1)) + ")"


def test_no_step_is_long_however_many_messages_there_are() -> None:
    messages = threaded([mail(str(at), str(at // 3), f"s{at % 500}") for at in range(5000)])
    for algorithm in (by_references, by_subject):
        steps = algorithm(messages)
        assert sum(1 for _ in steps) >= len(messages) // 500


def steps_of(messages: list[Threaded]) -> tuple[int, list[Node]]:
    steps, count = by_references(messages), 0
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            return count, ended.value
        count += 1


def test_a_chain_of_missing_messages_costs_its_length_however_many_hang_from_its_end() -> None:
    line = [b"%d" % number for number in range(1000)]
    chain = [Threaded(at, "", False, at, b"m%d" % at, tuple(line[200 * at : 200 * at + 201])) for at in range(5)]
    many = [Threaded(5 + at, "", False, 5 + at, b"n%d" % at, (line[-1],)) for at in range(2000)]
    count, roots = steps_of(chain + many)
    assert count < 100 and len(roots) == 1 and len(roots[0].children) == 2005


def test_replies_that_come_in_order_are_linked_without_a_look_at_all_above() -> None:
    count, roots = steps_of(
        [Threaded(at, "", False, at, b"%d" % at, (b"%d" % (at - 1),) if at else ()) for at in range(10_000)]
    )
    assert count < 200 and len(roots) == 1


def test_a_thread_is_not_hung_under_more_generations_than_are_looked_at() -> None:
    deep = [Threaded(at, "", False, at, b"%d" % at, (b"%d" % (at - 1),) if at else ()) for at in range(DEPTH_MAX + 9)]
    size = len(deep)
    leading = [
        Threaded(size, "", False, size, b"child", (b"top",)),
        Threaded(size + 1, "", False, size + 1, b"top", (b"%d" % (size - 1),)),
    ]
    _, roots = steps_of(deep + leading)
    assert [root.at for root in roots] == [0, size + 1]


def test_a_very_long_id_is_known_by_its_hash() -> None:
    long = b"<" + b"x" * 5000 + b"@example.org>"
    (known,) = message_ids(long)
    assert len(known) == 16 and references_of(long + b" <a@b>", b"") == (known, b"a@b")
