"""The backbone: a plain DINOv2 transformer whose later blocks alternate between one view and all views."""

import contextlib
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from geometry.layers.block import Block
from geometry.layers.patch_embed import PatchEmbed, resample_positions
from geometry.layers.rope import across_views, within_view
from geometry.models.reference_view import choose_reference
from geometry.prediction import Features


class VisionTransformer(nn.Module):
    """ViT with within-view and cross-view attention by rearranging tokens, no new parameters.

    Blocks before ``alternate_from`` see one view at a time. From it on, odd blocks see all views of a
    scene at once and even ones one view; queries and keys are normalised and rotated; and slot 0 of
    every view holds a camera token in place of DINOv2's class token.

    Views are never reordered: the reference view is the one that receives the reference's camera token.

    Args:
        output_blocks: indices of the four blocks whose state the dense heads read.
        alternate_from: first block of the alternating part; None is a plain ViT (monocular models).
        concat_local: outputs are (state after the last within-view block, state) on the channels.
        released: what the released weights were trained with: an offset of 0.1 in position-embedding
            resampling, eps 1e-5 (not the blocks' 1e-6) in query/key and final norms; exported features of
            scenes whose reference was chosen come reference first.

    Attributes:
        compute: narrow format of the products in inference (autocast); None leaves it to the autocast
            around the call. An autocast around more than the backbone would also reach cameras and depth.

    Source: DA3 (arXiv:2511.10647) section 3; DINOv2 (arXiv:2304.07193).
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        output_blocks: Sequence[int],
        alternate_from: int | None,
        concat_local: bool,
        feed_forward: Literal["mlp", "swiglu"] = "mlp",
        patch: int = 14,
        stored_grid: int = 37,
        released: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.patch = width, patch
        self.output_blocks = tuple(output_blocks)
        self.alternate_from = depth if alternate_from is None else alternate_from
        self.concat_local = concat_local
        self.released = False
        self.compute: torch.dtype | None = None

        eps = 1e-6
        self.patch_embed = PatchEmbed(width, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + stored_grid**2, width))
        if alternate_from is not None:
            self.camera_token = nn.Parameter(torch.zeros(1, 2, width))  # the reference's, the others'
        self.blocks = nn.ModuleList(
            Block(
                width, heads, feed_forward=feed_forward, qk_norm_eps=eps if i >= self.alternate_from else None
            )
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=eps)
        self.head_dim = width // heads
        self.init_weights()
        if released:
            self.follow_released()

    @property
    def feature_width(self) -> int:
        """Channels of each output level."""
        return self.width * (2 if self.concat_local else 1)

    def follow_released(self) -> None:
        """Compute as the released weights were trained (``released``)."""
        self.released = True
        for name, module in self.named_modules():
            if name.rpartition(".")[2] in ("norm", "q_norm", "k_norm") and isinstance(module, nn.LayerNorm):
                module.eps = 1e-5

    def init_weights(self) -> None:
        """DINOv2's initialisation; used where no checkpoint is loaded."""
        for token in (self.cls_token, self.pos_embed, getattr(self, "camera_token", None)):
            if token is not None:
                nn.init.trunc_normal_(token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def crosses_views(self, index: int) -> bool:
        return index >= self.alternate_from and index % 2 == 1

    def forward(
        self,
        images: Float[Tensor, "B V 3 H W"],
        *,
        camera_tokens: Float[Tensor, "B V D"] | None = None,
        conditioned: Bool[Tensor, "B V"] | None = None,
        reference: str | Int[Tensor, " B"] = "saddle_balanced",
        export_blocks: Sequence[int] = (),
    ) -> Features:
        """Features of normalised images whose sides are multiples of the patch size.

        Args:
            camera_tokens: tokens of given cameras; then no reference is chosen.
            conditioned: views for which they hold (all, if None); the others get learned tokens.
            reference: how to choose the reference view (`choose_reference`), or its index per scene.
                Scenes of one or two views take view 0, unless indices are given.
            export_blocks: blocks whose normed patch features are returned in ``Features.exported``.
        """
        B, V, _, H, W = images.shape
        if H % self.patch or W % self.patch:
            raise ValueError(f"image sides must be multiples of {self.patch}, got {H} x {W}")
        grid = (H // self.patch, W // self.patch)
        within, across = (f(grid, self.head_dim, device=images.device) for f in (within_view, across_views))
        chosen = reference.to(images.device) if torch.is_tensor(reference) else None
        first = self.alternate_from
        choose = chosen is None and V >= 3 and camera_tokens is None and first < len(self.blocks)
        patches: list[Tensor] = []
        slots: list[Tensor] = []
        exported: dict[int, Tensor] = {}
        with self._precision(images.device.type):
            local = x = self._embed(images.flatten(0, 1), grid).unflatten(0, (B, V))  # [B, V, 1 + T, D]
            for index, block in enumerate(self.blocks):
                if choose and index == first - 1:
                    chosen = choose_reference(x[:, :, 0], reference)  # type: ignore[arg-type]
                if index == first:
                    tokens = self._camera_tokens(B, V, chosen, camera_tokens, conditioned)
                    x = torch.cat((tokens[:, :, None].to(x.dtype), x[:, :, 1:]), dim=2)
                if self.crosses_views(index):
                    x = block(x.flatten(1, 2), across).unflatten(1, (V, -1))
                else:
                    rotary = within if index >= first else None
                    local = x = block(x.flatten(0, 1), rotary).unflatten(0, (B, V))
                if index in self.output_blocks:
                    state, slot = self.norm(x)[:, :, 1:], x[:, :, 0]
                    if self.concat_local:  # the within-view half does not pass the final norm
                        state = torch.cat((local[:, :, 1:], state.to(local.dtype)), dim=-1)
                        slot = torch.cat((local[:, :, 0], slot), dim=-1)
                    patches.append(state)
                    slots.append(slot)
                if index in export_blocks:
                    exported[index] = self._export(index, x, chosen)
        return Features(
            patches=patches,
            camera_tokens=slots,
            grid=grid,
            image_size=(H, W),
            reference=chosen,
            exported=exported,
        )

    def _precision(self, device: str) -> contextlib.AbstractContextManager:
        if self.compute is None:
            return contextlib.nullcontext()
        return torch.autocast(device, dtype=self.compute)

    def _embed(self, images: Float[Tensor, "n 3 H W"], grid: tuple[int, int]) -> Float[Tensor, "n T D"]:
        patches = self.patch_embed(images)
        positions = resample_positions(self.pos_embed, grid, offset=0.1 if self.released else None)
        patches = patches + positions[:, 1:]
        first = (self.cls_token + positions[:, :1]).expand(images.shape[0], -1, -1)
        return torch.cat((first.to(patches.dtype), patches), dim=1)

    def _camera_tokens(
        self,
        B: int,
        V: int,
        chosen: Int[Tensor, " B"] | None,
        given: Float[Tensor, "B V D"] | None,
        conditioned: Bool[Tensor, "B V"] | None,
    ) -> Float[Tensor, "B V D"]:
        if given is not None and conditioned is None:
            return given
        is_reference = torch.zeros(B, V, dtype=torch.bool, device=self.camera_token.device)
        first = torch.zeros(B, dtype=torch.long, device=is_reference.device) if chosen is None else chosen
        is_reference.scatter_(1, first[:, None], True)
        learned = torch.where(is_reference[..., None], self.camera_token[:, :1], self.camera_token[:, 1:])
        if given is None:
            return learned
        return torch.where(conditioned[..., None], given.to(learned.dtype), learned)

    def _export(
        self, index: int, x: Float[Tensor, "B V L D"], chosen: Int[Tensor, " B"] | None
    ) -> Float[Tensor, "B V T D"]:
        features = self.norm(x[:, :, 1:])
        if self.released and chosen is not None and index >= self.alternate_from - 1:
            B, V = x.shape[:2]
            order = torch.arange(V, device=x.device).expand(B, V)
            # Stable sort by "is not the reference": the reference first, the others as they were.
            order = (order != chosen[:, None]).long().argsort(dim=-1, stable=True)
            features = features.take_along_dim(order[..., None, None], dim=1)
        return features
