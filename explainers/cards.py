"""The cards of the built-in explainers and the short names of specifications; free of torch.

To add an explainer: write its function in the module of its family and its card here.
"""

from __future__ import annotations

from models.naming import Spec

from .info import Info

_GRADIENTS = (
    Info(
        "gradient", "The derivative of the explained logit with respect to every pixel, signed.",
        "Simonyan et al. 2014, section 3; Nuzzo 2020, eq. 4.1", "R = df_c/dx", "any differentiable network",
        "passes (Adebayo 2018, Nuzzo 2020)", "gradients:gradient_map", "gradient",
    ),
    Info(
        "saliency", "The absolute derivative of the explained logit with respect to every pixel; colour channels by maximum.",
        "Simonyan et al. 2014, section 3.1; Nuzzo 2020, eq. 4.1", "R = |df_c/dx|", "any differentiable network",
        "passes (Adebayo 2018, Nuzzo 2020)", "gradients:saliency", "gradient", signed=False, channels="max-abs",
    ),
    Info(
        "input-x-gradient", "Pixel times derivative of the explained logit: the first-order share of each pixel, measured "
        "from black.", "Shrikumar et al. 2016; Nuzzo 2020, eq. 4.2", "R = x df_c/dx",
        "black means absent: a black pixel gets exactly 0", "passes (Adebayo 2018, Nuzzo 2020)",
        "gradients:input_x_gradient", "gradient",
    ),
    Info(
        "integrated-gradients", "Gradient averaged along the straight line from a baseline to the image, times their "
        "difference (Gauss-Legendre nodes). Complete: the map sums to f(x) - f(baseline).",
        "Sundararajan et al. 2017, eq. 1; Nuzzo 2020, eq. 4.31", "R = (x - x0) int_0^1 df_c(x0 + a (x - x0))/dx da",
        "a baseline that stands for absence", "passes (Adebayo 2018, Nuzzo 2020)", "gradients:integrated_gradients",
        "gradient", params={"steps": 50, "baseline": "black"}, cost=50, rows=50,
    ),
)  # fmt: skip

_MODIFIED = (
    Info(
        "deconvnet", "Back-propagation in which every ReLU passes the positive part of what arrives from above, whatever "
        "the forward pass did.", "Zeiler and Fergus 2014; Nuzzo 2020, eq. 4.5", "R^l = max(R^{l+1}, 0)",
        "a network of ReLUs", "contested: passes in Nuzzo 2020, fails in Sixt 2020", "backprop:deconvnet",
        "modified-backprop", requires="relu",
    ),
    Info(
        "guided-backprop", "Back-propagation in which every ReLU passes the positive part of what arrives from above where "
        "the unit was active.", "Springenberg et al. 2015, section 3.4; Nuzzo 2020, eq. 4.6",
        "R^l = 1[x > 0] max(R^{l+1}, 0)", "a network of ReLUs",
        "fails: blind to the classifier head (Adebayo 2018, Nie 2018, Nuzzo 2020)", "backprop:guided_backprop",
        "modified-backprop", requires="relu",
    ),
)  # fmt: skip

_CAMS = (
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

_RELEVANCE = (
    Info(
        "lrp", "Layer-wise relevance propagation: |logit| is handed from layer to layer in proportion to what each input "
        "contributed, positive and negative contributions weighted by alpha and -beta (alpha - beta = 1, common "
        "denominators, biases take no share), or with the epsilon rule. A neuron with contributions of one sign hands on "
        "all its relevance through them. Additions, average pooling and means are linear layers under the same rule; "
        "maximum pooling hands to the winner; batch norms are folded, or passed unchanged where that is impossible. What "
        "biases absorb is counted; if the balance misses the logit by more than 1% the map is a failure. alpha >= 4 runs "
        "in float64.",
        "Bach et al. 2015, eq. 58 and 60; Nuzzo 2020, eq. 4.18 to 4.20",
        "R_j = sum_k (alpha (x_j w_jk)+ / sum_i (x_i w_ik)+ - beta (x_j w_jk)- / sum_i (x_i w_ik)-) R_k",
        "operations for which a rule exists", "a1b0, a2b1, a3b2 fail, beta >= 3 passes (Nuzzo 2020); a5b4 passes (Sixt 2020)",
        "relevance:lrp", "relevance", requires="relevance", cost=2,
        params={
            "rule": "alpha-beta", "alpha": 2.0, "beta": 1.0, "epsilon": 0.01, "seed": "abs",
        },
    ),
)  # fmt: skip

_NOISE = {"samples": 25, "sigma": 0.15}
_COMBINATORS = (
    Info(
        "smoothgrad", "Mean of the inner explainer's maps over noisy copies of the image.", "Smilkov et al. 2017, section 3",
        "R = mean_s e(x + n_s), n_s ~ N(0, sigma^2)", "sigma is relative to the input range [0, 1]",
        "passes (Adebayo 2018)", "combinators:smoothgrad", "combinator", stochastic=True, combinator=True, inner="gradient",
        params=_NOISE, cost=25, rows=25,
    ),
    Info(
        "smoothgrad-squared", "Mean of the squares of the inner explainer's maps over noisy copies of the image.",
        "Hooker et al. 2019, section 3", "R = mean_s e(x + n_s)^2", "sigma is relative to the input range [0, 1]", "",
        "combinators:smoothgrad_squared", "combinator", signed=False, stochastic=True, combinator=True, inner="gradient",
        params=_NOISE, cost=25, rows=25,
    ),
    Info(
        "vargrad", "Variance of the inner explainer's maps over noisy copies of the image.", "Adebayo et al. 2018b",
        "R = var_s e(x + n_s)", "sigma is relative to the input range [0, 1]", "", "combinators:vargrad", "combinator",
        signed=False, stochastic=True, combinator=True, inner="gradient", params=_NOISE, cost=25, rows=25,
    ),
)  # fmt: skip

_CONTROLS = (
    Info(
        "input", "The image itself: knows nothing of the model.", "reference explainer", "R = x", "",
        "must FAIL with similarity exactly 1", "controls:input_image", "reference", signed=False, class_sensitive=False,
        channels="max-abs", cost=0,
    ),
    Info(
        "edge-detector", "Sobel edges of the image: looks like an explanation and knows nothing of the model.",
        "Adebayo et al. 2018, section 3", "R = |Sobel(x)|", "", "must FAIL with similarity exactly 1",
        "controls:edge_detector", "reference", signed=False, class_sensitive=False, channels="max-abs", cost=0,
    ),
    Info(
        "constant", "One everywhere.", "reference explainer", "R = 1", "", "must be UNDEFINED", "controls:constant",
        "reference", signed=False, class_sensitive=False, cost=0,
    ),
    Info(
        "random", "New noise at every call.", "reference explainer", "R ~ N(0, 1)", "", "must be UNRELIABLE",
        "controls:random_noise", "reference", stochastic=True, class_sensitive=False, cost=0,
    ),
    Info(
        "random-by-model", "Noise that depends on the weights and the image only: passes every randomisation test and means "
        "nothing, which shows why randomisation is a gate and never a rank.", "after Binder et al. 2023",
        "R ~ N(0, 1) seeded by the weights", "", "must PASS randomisation and be at chance elsewhere",
        "controls:random_by_model", "reference", class_sensitive=False, cost=0,
    ),
    Info(
        "centre", "A Gaussian blob in the middle of the image: the prior of a centred photograph.", "reference explainer",
        "R = exp(-r^2 / (2 (side / 6)^2))", "", "must FAIL with similarity exactly 1", "controls:centre", "reference",
        signed=False, class_sensitive=False, cost=0,
    ),
    Info(
        "oracle", "The planted evidence itself, on data whose evidence is known.", "reference explainer",
        "R = 1 on the evidence, 0 elsewhere", "data with planted evidence", "perfect localisation", "controls:oracle",
        "reference", signed=False, cost=0, requires="evidence",
    ),
)  # fmt: skip

CARDS: dict[str, Info] = {
    info.name: info for info in (*_GRADIENTS, *_MODIFIED, *_CAMS, *_RELEVANCE, *_COMBINATORS, *_CONTROLS)
}

ALIASES: dict[str, Spec] = {
    "lrp-epsilon": Spec("lrp", (("rule", "epsilon"),)),
    **{
        f"lrp-a{alpha}b{alpha - 1}": Spec("lrp", (("alpha", float(alpha)), ("beta", float(alpha - 1))))
        for alpha in range(1, 10)
    },
}
