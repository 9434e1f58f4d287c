"""The one base of the errors that a user can mend."""


class UserError(ValueError):
    """Something in the user's files, options or machine; the message names the place and the remedy.

    The command line prints such a message without a traceback.
    """
