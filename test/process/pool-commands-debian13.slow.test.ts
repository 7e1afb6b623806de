// deadline: 180 s
/** The same with the virsh of Debian 13. */
import { test } from 'uvu';
import { debian13Place, requiresDebian13Virsh } from '../helpers/debian13-virsh.js';
import { runOwnColumn } from './pool-column-own.js';

requiresDebian13Virsh(test)(
  "every command of Debian 13's virsh for pools and volumes does what it should",
  (tree) => runOwnColumn('ownNewer', (folder, socket) => debian13Place(tree, folder, socket)),
);

test.run();
