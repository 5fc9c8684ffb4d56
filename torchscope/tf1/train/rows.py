"""sparse_gradients: gradients of looked-up rows as rows, for optimizers of your own."""

from typing import Any

from torchscope.tf1._rows import as_rows

from ._names import named

__all__ = ["sparse_gradients"]


def sparse_gradients(params: Any, enabled: bool = True) -> None:
    """Give tables, from the next forward on, TensorFlow's sparse gradients, or torch's dense ones.

    TensorFlow's gradient of a lookup is an ``IndexedSlices``, which holds the rows as they came,
    equal ones apart: an optimizer leaves all other rows alone, and a norm counts each row for
    itself. The optimizers of ``tf.train`` ask for such gradients when they are made. Call this
    where a program has an optimizer of its own, or clips the gradients of one of torch's:

    >>> import torch, torchscope as ts, torchscope.tf1 as tf
    >>> def model(ids):
    ...     table = tf.get_variable("table", [4, 1], initializer=tf.ones_initializer())
    ...     return tf.reduce_sum(tf.nn.embedding_lookup(table, ids))
    >>> ids = torch.tensor([0, 2, 2])
    >>> net = ts.ScopedModule(model).build(ids)
    >>> tf.gradients(net(ids), list(net.parameters()))[0].tolist()
    [[1.0], [0.0], [2.0], [0.0]]
    >>> tf.train.sparse_gradients(net)
    >>> tf.gradients(net(ids), list(net.parameters()))[0]
    tensor(indices=tensor([[0, 2, 2]]),
           values=tensor([[1.],
                          [1.],
                          [1.]]),
           size=(4, 1), nnz=3, layout=torch.sparse_coo)

    Floating-point tables of two dimensions have them, looked up by ``tf.nn.embedding_lookup``,
    ``embedding_lookup_sparse``, ``tf.gather``, contrib's embeddings or a sampled loss. A table that
    is used otherwise, too, in the same step gets a dense gradient, and so do all tables inside
    DistributedDataParallel.

    Torch: ``nn.Embedding(..., sparse=True)``; of its optimizers SGD, Adagrad and SparseAdam take
    such gradients, the others raise.

    Args:
        params: what an optimizer takes: a module, ``net.named_parameters()``, or variables of the
            store that is entered. Of those that are not tables nothing changes.
        enabled: False for dense gradients again, as after an optimizer of ``tf.train`` that
            another follows.

    Raises:
        TypeError: ``params`` is something else.
    """
    as_rows((variable for _, variable in named(params, "sparse_gradients")), enabled)
