"""What trackers share: the parts of the field's anatomy, each a pure function or a small frozen dataclass.

A motion model proposes where to look (`motion`), a feature extractor describes it (`features`), the size is
found (`scale`), a score is calibrated (`score`), and a model updater decides what is learnt (`update`). A
part takes what it needs, a frame, a box, a few numbers, never a tracker's whole config, hyper-parameters or
state.
"""
