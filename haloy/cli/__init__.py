"""The C{haloy} command.

A command's module has its name; L{main} lists them all. L{certs}, L{deploy},
L{deployments} (with diff and cancel), L{doctor}, L{execute} (exec), L{init}, L{logs},
L{prune} (prune-images), L{registries} (server registry), L{rollback}, L{server},
L{status}, L{stop}, L{apps}, L{targets}, L{tokens}, L{tunnel}, L{validate}
(validate-config), L{completion}, L{version}.

What they share:

  - Beginning and end: L{entry}, L{running} (a coroutine on the reactor), L{failing} and
    L{exits} (what went wrong, and its exit code).
  - Input: L{options}, L{numbers}, L{completing} (values completed by Tab), L{context}
    (configuration, targets, clients), L{asking} (questions).
  - Output: L{output}, L{answers} (of several targets), L{echo} and L{streams}
    (our standard streams), L{ages}, L{transfer} (progress), L{shapes} and
    L{output_schema} (C{--json}), L{reference} (the manual).
  - Parts of a deployment: L{plan}, L{build}, L{archive}, L{push}, L{upload},
    L{provide} (any of these three), L{hooks}, L{follow}.
  - Others: L{diagnosis} (the checks of doctor), L{terminal} (exec with a terminal),
    L{successors} (of containers whose logs are followed).
"""
