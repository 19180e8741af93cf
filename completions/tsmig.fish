complete --keep-order --exclusive --command tsmig --arguments "(COMPLETE=fish tsmig -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token))"
