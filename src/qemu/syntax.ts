import type { Syntax } from './arguments.js';

/** The options of each tool and subcommand, of QEMU 7.2, as a table. */

const common = ['help:h', 'object=', 'image-opts'] as const;
const share = 'force-share:U';

export const imgSyntax: Readonly<Record<string, Syntax>> = {
  amend: { short: 'ho:f:t:pq', long: [...common, 'force'] },
  bench: {
    short: 'hc:d:f:ni:o:qs:S:t:wU',
    long: ['help:h', 'flush-interval=', 'image-opts', 'no-drain', 'pattern=', share],
  },
  bitmap: {
    short: 'b:f:F:g:h',
    long: [
      ...[...common, 'add', 'remove', 'clear', 'enable', 'disable', 'merge='],
      ...['source-file=:b', 'source-format=:F', 'granularity=:g'],
    ],
  },
  check: { short: 'hf:r:T:qU', long: [...common, 'format=:f', 'repair=:r', 'output=', share] },
  commit: { short: 'f:ht:b:dpqr:', long: [...common] },
  compare: { short: 'hf:F:T:pqsU', long: [...common, share] },
  convert: {
    short: 'hf:F:O:B:Cco:l:S:pt:T:qnm:WUr:',
    long: [
      ...[...common, 'target-image-opts', share, 'target-is-zero'],
      ...['salvage', 'bitmaps', 'skip-broken-bitmaps'],
    ],
  },
  create: { short: 'F:b:f:ho:qu', long: ['help:h', 'object='] },
  dd: { short: 'hf:O:U', long: [...common, share] },
  info: { short: 'f:hU', long: [...common, 'format=:f', 'output=', 'backing-chain', share] },
  map: {
    short: 'f:s:l:hU',
    long: [...common, 'format=:f', 'output=', 'start-offset=:s', 'max-length=:l', share],
  },
  measure: { short: 'hf:O:o:l:U', long: [...common, 'output=', 'size=', share] },
  rebase: { short: 'hf:F:b:upt:T:qU', long: [...common, share] },
  resize: { short: 'f:hq', long: [...common, 'preallocation=', 'shrink'] },
  snapshot: { short: 'la:c:d:hqU', long: [...common, share] },
};

/** What may stand before the subcommand. */
export const imgStandardSyntax: Syntax = { short: 'hVT:', long: ['help:h', 'version:V', 'trace=:T'] };

export const ioSyntax: Syntax = {
  short: 'c:Cd:f:hki:mnrsT:t:UV',
  long: [
    ...['object=', 'image-opts', 'cmd=:c', 'format=:f', 'read-only:r', 'snapshot:s', 'nocache:n'],
    ...['copy-on-read:C', 'misalign:m', 'native-aio:k', 'aio=:i', 'cache=:t', 'discard=:d', 'trace=:T'],
    ...[share, 'help:h', 'version:V'],
  ],
};
