"""Published vectors of RFC 6962 and RFC 9162, and the examples that the C2SP documents print."""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from bulkhead.errors import IntegrityError
from bulkhead.ledger.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency, verify_inclusion
from bulkhead.ledger.note import parse_checkpoint
from bulkhead.ledger.proof import Consistency, parse_proof
from bulkhead.ledger.tiles import Tile, tiles_of

VECTORS = Path(__file__).resolve().parents[1] / "vectors/merkle"


def vectors(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (VECTORS / f"{name}.jsonl").read_text().splitlines()]


def octets(text: str | None) -> bytes:
    return b64decode(text or "")


def test_every_published_inclusion_proof_is_taken_or_refused_as_it_says() -> None:
    found = vectors("inclusion")
    assert len(found) > 90
    for one in found:
        proof = [octets(value) for value in one["proof"] or ()]
        arguments = (octets(one["leafHash"]), one["leafIdx"], one["treeSize"], proof, octets(one["root"]))
        if one["wantErr"]:
            with pytest.raises(IntegrityError):
                verify_inclusion(*arguments)
        else:
            verify_inclusion(*arguments)


def test_every_published_consistency_proof_is_taken_or_refused_as_it_says() -> None:
    found = vectors("consistency")
    assert len(found) > 90
    for one in found:
        proof = [octets(value) for value in one["proof"] or ()]
        arguments = (one["size1"], one["size2"], proof, octets(one["root1"]), octets(one["root2"]))
        stricter = len(arguments[3]) != HASH_BYTES or (one["size1"] == 0 and arguments[3] != EMPTY_ROOT)
        if one["wantErr"] or stricter:  # what is no hash, or no hash of an empty tree, is refused here too
            with pytest.raises(IntegrityError):
                verify_consistency(*arguments)
        else:
            verify_consistency(*arguments)


def test_a_tree_of_70000_has_the_tiles_that_the_document_counts() -> None:
    found = [tile for tile in tiles_of(70_000) if tile.level is not None]
    counts = {(tile.level, tile.width): 0 for tile in found}
    for tile in found:
        counts[tile.level, tile.width] += 1
    assert counts == {(0, 256): 273, (0, 112): 1, (1, 256): 1, (1, 17): 1, (2, 1): 1}
    assert [tile.path for tile in tiles_of(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]
    assert Tile(0, 1_234_067).path == "tile/0/x001/x234/067"


def test_the_request_that_the_witness_document_prints_is_read_and_written_back() -> None:
    text = (
        "old 20852014\nPlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\njrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"
        "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\n"
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa "
        "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    ).encode()
    proof = parse_proof(text)
    assert isinstance(proof, Consistency) and proof.encode() == text
    assert (proof.old, len(proof.hashes), parse_checkpoint(proof.note.text).size) == (20852014, 4, 20852163)
