"""The classes of COCO, as published detectors count them."""

_NAMES = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, -, stop
sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, -, backpack,
umbrella, -, -, handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball
glove, skateboard, surfboard, tennis racket, bottle, -, wine glass, cup, fork, knife, spoon, bowl, banana,
apple, sandwich, orange, broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, -,
dining table, -, -, toilet, -, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster,
sink, refrigerator, -, book, clock, vase, scissors, teddy bear, hair drier, toothbrush
"""

COCO_91 = tuple(" ".join(name.split()) for name in _NAMES.split(","))
"""The names of the ids 1 to 90, `-` where an id has none."""
COCO_80 = tuple(name for name in COCO_91 if name != "-")
"""The names without gaps, as detectron2 and mmdetection count them."""
