"""`python -m p2net_tf.cli`."""

from p2net_tf.cli import main

main()
