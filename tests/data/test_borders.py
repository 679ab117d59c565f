"""Borders promise that a token of a packed row sees its own document and nothing else, at positions from 0 on."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from weixing.data.borders import attention_mask, isolate_documents

CLS = 1


def test_isolation_restarts_positions_and_ends_what_is_seen_at_the_next_document():
    ids = torch.tensor([[1, 5, 2, 1, 6, 7, 2, 2], [1, 5, 6, 7, 8, 9, 3, 2]])
    first, last, positions = isolate_documents(ids, cls_id=CLS)
    assert positions.tolist() == [[0, 1, 2, 0, 1, 2, 3, 4], list(range(8))]
    assert first.tolist() == [[0, 0, 0, 3, 3, 3, 3, 3], [0] * 8]
    assert last.tolist() == [[3, 3, 3, 8, 8, 8, 8, 8], [8] * 8]
    attention = attention_mask(first, last)
    assert attention[0, :3, :3].all()
    assert attention[0, 3:, 3:].all()
    assert not attention[0, :3, 3:].any()
    assert not attention[0, 3:, :3].any()
    assert attention[1].all()


@given(st.lists(st.lists(st.booleans(), min_size=9, max_size=9), min_size=1, max_size=4))
def test_two_tokens_see_each_other_exactly_if_no_document_begins_between_them(begins):
    # A row may go on with a document of the row before: what is ahead of its first [CLS] is a document as well.
    ids = torch.where(torch.tensor(begins), CLS, 7)
    first, last, positions = isolate_documents(ids, CLS)
    document = (ids == CLS).cumsum(1)
    assert torch.equal(attention_mask(first, last), document[:, :, None] == document[:, None, :])
    for row, numbers in zip(document.tolist(), positions.tolist(), strict=True):
        assert numbers == [place - row.index(number) for place, number in enumerate(row)]
