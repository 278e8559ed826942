"""Cards of the class activation maps."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "gradcam", "Feature maps of the last convolution, weighted by the spatial mean of their gradients, positive part, "
        "enlarged bilinearly.", "Selvaraju et al. 2017, eq. 1 and 2; Nuzzo 2020, eq. 4.11 and 4.12",
        "R = max(sum_k mean_ij(df_c/dA^k_ij) A^k, 0)", "a convolutional layer with two spatial axes",
        "passes (Adebayo 2018, Nuzzo 2020)", "cams:gradcam", "cam", signed=False, requires="convolution",
        params={"layer": "last"},
    ),
    Info(
        "guided-gradcam", "Guided backpropagation times the enlarged Grad-CAM map.", "Selvaraju et al. 2017, section 3.2",
        "R = guided-backprop * gradcam", "a network of ReLUs with a convolutional layer",
        "fails (Adebayo 2018); similarity near .9 in Nuzzo 2020", "cams:guided_gradcam", "cam", requires="convolution",
        params={"layer": "last"}, cost=2,
    ),
)  # fmt: skip
