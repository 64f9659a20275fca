"""Access control: what a party lets run, what it gives to it, and who may learn what of it.

rules      the policy file: rules, each with a program, inputs, reveals and limits
facts      what a rule names of a program: versions, digests, parties
sources    the files whose digest stands for a program
guard      asked by a session before anything of this party's own leaves it
admission  the guard of a party with a policy file, from the first link to the last word
audit      what took place, a line for each session's begin and end
review     a dry run: what a session would do
"""

__all__: list[str] = []
