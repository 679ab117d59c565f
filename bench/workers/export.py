"""Write a model of fresh random weights in Hugging Face layout: ``export SHAPE VOCABULARY FOLDER``."""

import sys
from pathlib import Path

from weixing.formats.huggingface import export_masked_lm
from weixing.formats.naming import load_masked_lm
from weixing.text.vocabulary import load_vocabulary

shape, vocabulary, folder = sys.argv[1:]
export_masked_lm(*load_masked_lm(shape, vocabulary=load_vocabulary(vocabulary)), Path(folder))
