"""What came out: tables beside the published scores, comparisons, model cards, publishing."""
