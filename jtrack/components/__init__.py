"""What trackers share: the parts of the field's anatomy, each a pure function or a small frozen dataclass.

A motion model proposes where to look (`motion`), and a feature extractor describes it: `features`, `salience`
with what a classifier finds salient, `cue_patches` without a network for images. The size is found (`scale`),
a score is calibrated (`calibration`), and a model updater decides what is learnt (`update`) and from which
boxes (`samples`). A part takes what it needs, a frame, a box, a few numbers, never a tracker's whole config,
hyper-parameters or state.
"""
