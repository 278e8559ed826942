"""Cards of Grad-CAM++ and CAM."""

from __future__ import annotations

from ..info import Info

CARDS: tuple[Info, ...] = (
    Info(
        "gradcam++", "Feature maps behind the last convolution, weighted by a weighted sum of their positive gradients that "
        "gives every instance of an object the same say, enlarged bilinearly. Where no ReLU reads the layer directly, the "
        "positive part of its output is used.", "Chattopadhay et al. 2018, eq. 6, 7, 19; Nuzzo 2020, eq. 4.13",
        "R = max(sum_k w_k A^k, 0), w_k = sum_ij a_ij max(g_ij, 0), a = g^2 / (2 g^2 + g^3 sum A^k)",
        "a convolutional layer with two spatial axes; a network linear behind it wherever it is differentiable",
        "not tested in the literature we know", "cams_plus:gradcam_plus", "cam", signed=False, requires="convolution",
        params={"layer": "last"},
    ),
    Info(
        "guided-gradcam++", "Guided backpropagation times the enlarged Grad-CAM++ map.", "Chattopadhay et al. 2018, section 3",
        "R = guided-backprop * gradcam++", "a network of ReLUs with a convolutional layer",
        "not tested in the literature we know; guided-gradcam fails (Adebayo 2018)",
        "cams_plus:guided_gradcam_plus", "cam", requires="convolution", params={"layer": "last"}, cost=2,
    ),
    Info(
        "cam", "Feature maps before the global average pooling, weighted by the linear layer's weights for the class, "
        "enlarged bilinearly. Networks that do not end in global average pooling and one linear layer are refused.",
        "Zhou et al. 2016, eq. 2; Nuzzo 2020, section 4.2", "R = sum_k W_ck A^k",
        "global average pooling directly before the only linear layer",
        "not tested in the literature we know; equals gradcam up to a factor where it applies", "cams_plus:cam", "cam",
        requires="convolution", cost=0.4,
    ),
)  # fmt: skip
