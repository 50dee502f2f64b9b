"""The peers of our scores."""

from peer_phrases import (
    FUNCTION_AXIS,
    Peer,
)

_UFUNC_NONE = "where casting order dtype subok signature"
UFUNC = "\n".join(["x: `logits`", "out: `out`", *(f"{name}: none" for name in _UFUNC_NONE.split())])
UFUNC_WE_LACK = "`where`, `dtype` and the other keywords of ufuncs"

#: The peers of each of our scores.
SCORES: dict[str, list[Peer]] = {
    "sigmoid": [
        Peer(
            "scipy.special.expit",
            UFUNC,
            lacks="subnormal results: 0 at -90 in float32",
            we_lack=UFUNC_WE_LACK,
        ),
    ],
    "log_sigmoid": [
        Peer(
            "scipy.special.log_expit",
            UFUNC,
            we_lack=UFUNC_WE_LACK,
        ),
    ],
    "softplus": [
        Peer(
            "scipy.special.softplus",
            """
            x: `logits`
            kwargs: `out`; none for other keywords of ufuncs
            """,
            we_lack="a mask and the other keywords of ufuncs (`kwargs`)",
        ),
    ],
    "logit": [
        Peer(
            "scipy.special.logit",
            UFUNC.replace("logits", "probs"),
            we_lack=UFUNC_WE_LACK,
        ),
    ],
    "odds": [],
    "softmax": [
        Peer(
            "scipy.special.softmax",
            f"""
            x: `logits`
            axis: {FUNCTION_AXIS}
            """,
            lacks=(
                "`out`; the limit for a logit of +inf: NaN, not a one-hot result; an empty class "
                "axis: an error; integers of 8 bits are computed in half precision"
            ),
        ),
    ],
    "log_softmax": [
        Peer(
            "scipy.special.log_softmax",
            f"""
            x: `logits`
            axis: {FUNCTION_AXIS}
            """,
            lacks=(
                "`out`; small results in float32: (20, 0) gives 0 first, not -2.06e-09; the limit "
                "for a logit of +inf: NaN first, not 0; an empty class axis: an error"
            ),
        ),
    ],
    "logsumexp": [
        Peer(
            "scipy.special.logsumexp",
            f"""
            a: `logits`
            axis: {FUNCTION_AXIS}
            b: none: add log(b) to the logits
            keepdims: `keepdims`
            return_sign: none: terms are positive
            """,
            lacks="`out`; several axes of an empty array: an error",
            we_lack="weights, negative ones too (`b`, `return_sign`); complex numbers",
        ),
    ],
}
