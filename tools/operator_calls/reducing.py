"""Operators that make fewer elements of many: sums, products, norms, order, matrix products."""

from functools import partial

import torch

from tools.operator_calls.calls import Call, call, signed

__all__ = ["REDUCING"]

CUBE = (3, 4, 5)
INFINITY = float("inf")

REDUCING: list[Call] = [
    signed("x.sum()", lambda x: x.sum(), CUBE),
    signed("x.sum((0, -1), keepdim=True)", lambda x: x.sum((0, -1), keepdim=True), CUBE),
    signed("x.sum() of none", lambda x: x.sum(), (0, 3)),
    signed("x.nansum(1)", lambda x: x.nansum(1), CUBE),
    signed("x.mean()", lambda x: x.mean(), CUBE),
    signed("x.mean((0, 2))", lambda x: x.mean((0, 2)), CUBE),
    signed("x.mean(-1, keepdim=True)", lambda x: x.mean(-1, keepdim=True), CUBE),
    signed("x.cumsum(1)", lambda x: x.cumsum(1), CUBE),
    signed("x.cumsum(0), empty", lambda x: x.cumsum(0), (0, 3)),
    signed("x.cumprod(1)", lambda x: x.cumprod(1), CUBE),
    signed("x.cumprod(0), empty", lambda x: x.cumprod(0), (0, 3)),
    signed("x.prod()", lambda x: x.prod(), (3, 3)),
    signed("x.prod(1, keepdim=True)", lambda x: x.prod(1, keepdim=True), CUBE),
    signed("x.prod(0), of none", lambda x: x.prod(0), (0, 3)),
    signed("x.var()", lambda x: x.var(), CUBE),
    signed("x.var(1, unbiased=False)", lambda x: x.var(1, unbiased=False), CUBE),
    signed("x.var((0, 2), keepdim=True)", lambda x: x.var((0, 2), keepdim=True), CUBE),
    signed("x.std(-1, correction=2)", lambda x: x.std(-1, correction=2), CUBE),
    signed("torch.var_mean(x, 1)", lambda x: torch.cat(torch.var_mean(x, 1)), CUBE),
    signed("torch.std_mean(x)", lambda x: torch.stack(torch.std_mean(x)), CUBE),
    *[
        signed(f"x.norm({p}, 1)", partial(torch.norm, p=p, dim=1), CUBE)
        for p in (0, 1, 2, 3, 4, INFINITY, -INFINITY)
    ],
    signed("x.renorm(2, 0, 1)", lambda x: x.renorm(2, 0, 1.0), CUBE),
    signed("aten.norm(x, 1)", lambda x: torch.ops.aten.norm.Scalar(x, 1), CUBE),
    signed(
        "aten.norm(x, 1, float32)",
        lambda x: torch.ops.aten.norm.ScalarOpt_dtype(x, 1, dtype=torch.float32),
        CUBE,
    ),
    signed(
        "aten.norm(x, 1, (0, 1), float32)",
        lambda x: torch.ops.aten.norm.ScalarOpt_dim_dtype(x, 1, [0, 1], False, dtype=torch.float32),
        CUBE,
    ),
    signed("linalg.vector_norm(x)", torch.linalg.vector_norm, CUBE),
    signed("linalg.matrix_norm(x)", torch.linalg.matrix_norm, CUBE),
    signed("x.norm()", lambda x: x.norm(), CUBE),
    signed("normalize(x)", torch.nn.functional.normalize, CUBE),
    signed("dist(x, y, 1)", lambda x, y: torch.dist(x, y, 1), CUBE, CUBE),
    signed("cdist(x, y)", torch.cdist, (3, 4), (5, 4)),
    signed("pdist(x)", torch.nn.functional.pdist, (4, 3)),
    signed("pairwise_distance(x, y)", torch.nn.functional.pairwise_distance, (4, 3), (4, 3)),
    signed("cosine_similarity(x, y)", torch.cosine_similarity, (4, 3), (4, 3)),
    signed("logsumexp(x, (0, 2))", lambda x: x.logsumexp((0, 2)), CUBE),
    signed("logsumexp(x, 1, True)", lambda x: x.logsumexp(1, True), CUBE),
    signed("cov(x)", torch.cov, (3, 6)),
    call("corrcoef(x)", lambda x: torch.corrcoef(x * 8), (2, 6)),
    # order
    signed("x.max()", lambda x: x.max(), CUBE),
    signed("x.min()", lambda x: x.min(), CUBE),
    signed("x.max(1)", lambda x: x.max(1)[0], CUBE),
    signed("x.min(1)", lambda x: x.min(1)[0], CUBE),
    signed("x.max(1), places", lambda x: x.max(1)[1].float(), CUBE),
    signed("x.amax((0, 2))", lambda x: x.amax((0, 2)), CUBE),
    signed("x.amin(1, True)", lambda x: x.amin(1, True), CUBE),
    signed("x.argmax(2)", lambda x: x.argmax(2).float(), CUBE),
    signed("x.argmin()", lambda x: x.argmin().float(), CUBE),
    signed("x.aminmax(dim=1)", lambda x: torch.stack(x.aminmax(dim=1)), CUBE),
    signed("x.sort(1)", lambda x: x.sort(1)[0], CUBE),
    signed("x.sort(stable=True)", lambda x: x.sort(stable=True)[0], CUBE),
    signed("x.argsort(1)", lambda x: x.argsort(1).float(), CUBE),
    signed("x.topk(2)", lambda x: x.topk(2)[0], CUBE),
    signed("x.median()", lambda x: x.median(), (3, 3)),
    signed("x.median(1)", lambda x: x.median(1)[0], CUBE),
    signed("x.kthvalue(2, 0)", lambda x: x.kthvalue(2, 0)[0], CUBE),
    # products of vectors and matrices
    signed("x @ y", torch.matmul, (3, 4), (4, 5)),
    signed("x @ y, batches", torch.matmul, (2, 1, 3, 4), (3, 4, 2)),
    signed("x @ y, empty", torch.matmul, (0, 4), (4, 2)),
    signed("x @ y of nothing", torch.matmul, (2, 0), (0, 2)),
    signed("bmm(x, y)", torch.bmm, (2, 3, 4), (2, 4, 2)),
    signed("mv(x, y)", torch.mv, (3, 4), (4,)),
    signed("dot(x, y)", torch.dot, (8,), (8,)),
    signed("vdot(x, y)", torch.vdot, (8,), (8,)),
    signed("inner(x, y)", torch.inner, (2, 3), (4, 3)),
    signed("outer(x, y)", torch.outer, (3,), (4,)),
    signed("kron(x, y)", torch.kron, (2, 3), (3, 2)),
    signed("tensordot(x, y, 2)", lambda x, y: torch.tensordot(x, y, 2), (2, 3, 4), (3, 4, 2)),
    signed("einsum('bij,bjk->ki')", partial(torch.einsum, "bij,bjk->ki"), (2, 3, 4), (2, 4, 3)),
    signed("einsum('ii,j->ij')", partial(torch.einsum, "ii,j->ij"), (3, 3), (2,)),
    signed("einsum('...i,i->...')", partial(torch.einsum, "...i,i->..."), CUBE, (5,)),
    signed(
        "addmm(x, y, z)",
        lambda x, y, z: torch.addmm(x, y, z, beta=0.5, alpha=2),
        (2,),
        (3, 4),
        (4, 2),
    ),
    signed("baddbmm(x, y, z)", torch.baddbmm, (1, 2), (2, 3, 4), (2, 4, 2)),
    signed("addbmm(x, y, z)", torch.addbmm, (3, 2), (2, 3, 4), (2, 4, 2)),
    signed("addmv(x, y, z)", torch.addmv, (3,), (3, 4), (4,)),
    signed("addr(x, y, z)", torch.addr, (3, 4), (3,), (4,)),
    signed("linalg.cross(x, y)", torch.linalg.cross, (2, 3), (1, 3)),
    signed(
        "linalg.multi_dot(x, y, x)", lambda x, y: torch.linalg.multi_dot([x, y, x]), (2, 3), (3, 2)
    ),
    signed("linalg.matrix_power(x, 3)", lambda x: torch.linalg.matrix_power(x, 3), (3, 3)),
    signed("bilinear(x, y, z)", torch.nn.functional.bilinear, (2, 3), (2, 4), (5, 3, 4)),
    signed(
        "aten._trilinear(x, y, z)",
        lambda x, y, z: torch.ops.aten._trilinear(x, y, z, [1], [0], [2], [1]),
        (2, 4),
        (3, 4),
        (2, 3),
    ),
    signed("trace(x)", torch.trace, (3, 4)),
]
