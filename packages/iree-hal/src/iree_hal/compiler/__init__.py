"""The compile-time half of iree-hal (extra ``[compiler]``): the ``hal`` dialect and recordings from it."""
