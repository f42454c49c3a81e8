"""The method: groups of traces, their rewards and advantages, and the policy that learns from them.

Read in this order; each file says at its top what it promises.

1. ``loop``: one step is a batch, an update, a broadcast and the account of it. Start here.
2. ``scheduler`` and ``ledger``: which groups run and which make a batch, how old a trace may be, and the account in
   which every group ends exactly once.
3. ``rollout``: one group from its problem to rewards, every trace on its own. ``system`` is what the planner,
   executor, verifier and reasoning RM are asked; ``baselines`` (and ``baseline_cache``) the executor without a trace.
   What a trace earns is in the package ``reward``.
4. ``advantages``, ``losses``, ``normalisations`` and ``corrections``: the algorithms, one short function each, in
   tables. ``signal`` says which groups have any, ``batch`` turns groups into what the learner trains on, ``objective``
   puts the loss of a token together.
5. ``learner`` and ``metrics``: one rank that takes the update, over the engine in the package ``training``.
6. ``weights``: one broadcast of the learner's weights, over the package ``transfer``; ``planner_pool`` takes them.
7. ``watchdog``: which stage holds what, where nothing progresses.

``pools`` holds the Protocols through which all of this reaches models, so that Ray actors and in-process fakes run the
same loop; ``assembly`` builds the parts from a configuration, and ``preparation`` is what a run does before any of them
exists; ``continuing`` says there whether it may go on from a checkpoint.
"""
