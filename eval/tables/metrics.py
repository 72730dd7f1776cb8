"""Every metric that a table can show: its head, digits, factor, and which way is better."""

from typing import NamedTuple


class Metric(NamedTuple):
    """How a metric is printed: its stored value times ``factor``, with ``digits`` after the point."""

    head: str
    digits: int = 3
    lower: bool = False  # the lower, the better
    factor: float = 1.0


METRICS = {
    "psnr": Metric("PSNR", 2),
    "ssim": Metric("SSIM"),
    "lpips_vgg": Metric("LPIPS (VGG)", lower=True),
    "lpips_alex": Metric("LPIPS (Alex)", lower=True),
    "auc3": Metric("AUC@3", 1, factor=100),
    "auc5": Metric("AUC@5", 1, factor=100),
    "auc15": Metric("AUC@15", 1, factor=100),
    "auc30": Metric("AUC@30", 1, factor=100),
    "acc": Metric("Acc", 4, lower=True),
    "comp": Metric("Comp", 4, lower=True),
    "overall": Metric("Chamfer", 4, lower=True),
    "precision": Metric("Prec", 1, factor=100),
    "recall": Metric("Rec", 1, factor=100),
    "fscore": Metric("F1", 1, factor=100),
    "delta1": Metric("delta1", 1, factor=100),
    "abs_rel": Metric("AbsRel", lower=True),
    "sq_rel": Metric("SqRel", lower=True),
    "images_per_s": Metric("images/s", 2),
    "peak_gb": Metric("peak GB", 2, lower=True),
    "max_views": Metric("most views", 0),
}
