"""The one base of the errors that a user can mend."""


class UserError(ValueError):
    """Something in the user's files, options or machine; the message names the place and the remedy.

    The command line prints such a message without a traceback and exits with `EXIT_CODE`.
    """

    EXIT_CODE = 2


class Interrupted(BaseException):
    """The work was asked to stop and is saved; the message says how to go on with it.

    As `KeyboardInterrupt`, it is no `Exception`: a signal comes anywhere, and who catches whatever a layer
    or a plug-in raises must not catch it.

    The command line exits with `EXIT_CODE`, by which a scheduler knows that the job only has to be started
    again (75 is EX_TEMPFAIL of sysexits.h).
    """

    EXIT_CODE = 75
