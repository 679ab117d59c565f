"""Options that the verbs of pretraining have in common, with their help."""

from typing import Annotated, Literal

import typer

Data = Annotated[str | None, typer.Option(help="Folder of shards (weixing prepare), or s3://…")]
Recipe = Annotated[str | None, typer.Option(help="weixing or uer. Default: weixing.")]
EvalData = Annotated[str | None, typer.Option(help="Held-out shards.")]
BatchSize = Annotated[int | None, typer.Option(help="Rows an update.")]
MicroBatchSize = Annotated[int | None, typer.Option(help="Rows of one forward pass. Default: all.")]
LearningRate = Annotated[float | None, typer.Option(help="Peak, of AdamW.")]
MatrixLearningRate = Annotated[float | None, typer.Option(help="Peak, of Muon (recipe weixing).")]
MaskingRate = Annotated[float | None, typer.Option(help="Masked share of a row.")]
MaskingUnit = Annotated[Literal["token", "word", "span"] | None, typer.Option(help="What is masked whole.")]
ShuffleWindow = Annotated[int | None, typer.Option(help="Rows shuffled together. Default: all.")]
Seed = Annotated[int | None, typer.Option(help="Default: 7.")]
ReportEvery = Annotated[int | None, typer.Option(help="Steps between reports.")]
EvalEvery = Annotated[int | None, typer.Option(help="Steps between evaluations.")]
SaveEvery = Annotated[int | None, typer.Option(help="Steps between checkpoints, or 10 minutes.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1.")]
Precision = Annotated[Literal["bf16", "float32"] | None, typer.Option(help="Default: bf16 if in hardware.")]
