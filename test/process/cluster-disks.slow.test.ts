// deadline: 180 s
/** A disk that answers every request with EIO while clients write. */
import { execFileSync } from 'node:child_process';
import { test } from 'uvu';
import { requires } from '../helpers/requires.js';
import { canMount, loopDisk, losesDisk, withLoad } from './cluster-disks-run.js';

/** EXT4_IOC_SHUTDOWN without a flush of the journal. */
const SHUTDOWN = `
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))
`;

const NAME = 'a disk that fails is dropped, and clients notice nothing';
if (canMount()) {
  requires(
    test,
    'mkfs.ext4',
    'python3',
  )(NAME, () =>
    withLoad(loopDisk, (cluster, load, lost) =>
      losesDisk(cluster, load, lost, () => void execFileSync('python3', ['-c', SHUTDOWN, lost])),
    ),
  );
} else {
  process.stderr.write(`skipped: ${NAME} (needs the right to mount)\n`);
}

test.run();
