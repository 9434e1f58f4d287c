"""`python -m p2net_tf`, which is `p2net`."""

from p2net_tf.cli import main

if __name__ == "__main__":
    main()
