/** A guest that counts, in its memory and on two disks, and notices when these do not belong to the same moment. */
import type { GuestConsole } from '../helpers/guest-console.js';
import { within } from '../helpers/real-cluster.js';

const GO_DEADLINE_MS = 60_000;
const SLOTS = 32;

/**
 * A number goes to its slot of each disk, one after the other, and then to memory. Read from the disks themselves, the
 * slots of the last two numbers have these, and the slot of the next has what is older by a whole round: disks from
 * before the memory lack a number, disks from after it have one too many.
 */
const SCRIPT = [
  'slot() { dd if=$1 bs=4096 skip=$(($2 % SLOTS)) count=1 2>/dev/null | head -n 1; }',
  'want() { v=$(slot $1 $2); [ "$v" = $3 ] || { echo "$1: $v instead of $3, counting $n"; exit 1; }; }',
  'n=0',
  'while :; do n=$((n + 1))',
  'for d in /dev/vda /dev/vdb; do',
  'echo $n | dd of=$d bs=4096 seek=$((n % SLOTS)) conv=sync,fsync,notrunc 2>/dev/null || { echo "$d fails"; exit 1; }',
  'done',
  'echo 3 > /proc/sys/vm/drop_caches',
  'if [ $n -gt $((SLOTS + 2)) ]; then for d in /dev/vda /dev/vdb; do',
  'want $d $n $n; want $d $((n - 1)) $((n - 1)); want $d $((n + 1)) $((n + 1 - SLOTS))',
  'done; fi',
  'echo $n > /tmp/counted',
  'done',
]
  .join('\n')
  .replaceAll('SLOTS', String(SLOTS));

export class CountingGuest {
  constructor(private readonly console: GuestConsole) {}

  async begin(): Promise<void> {
    const text = Buffer.from(SCRIPT).toString('base64');
    await this.console.must(`echo ${text} | base64 -d > /tmp/count`);
    await this.console.must('(sh /tmp/count > /tmp/complaint 2>&1 &) ; true');
    // A whole round, before which older numbers are not there to be compared.
    await this.goesOn(SLOTS + 8);
  }

  /** Changes some of its memory all the time. */
  async changeMemory(): Promise<void> {
    for (const file of ['a', 'b'])
      await this.console.must(`dd if=/dev/urandom of=/tmp/${file} bs=1M count=16`);
    const change = 'for f in a b; do dd if=/tmp/$f of=/tmp/changed bs=1M conv=notrunc 2>/dev/null; done';
    await this.console.must(`(while :; do ${change}; done > /dev/null 2>&1 &) ; true`);
  }

  async counted(): Promise<number> {
    return Number(await this.console.must('cat /tmp/counted 2>/dev/null || echo 0'));
  }

  /** Counts so far, and as many more; throws what the guest complains of. */
  async goesOn(more = 8): Promise<number> {
    const from = await this.counted();
    const complaint = await within(GO_DEADLINE_MS, `the guest counts on from ${from}`, async () => {
      const text = await this.console.must('cat /tmp/complaint');
      return text !== '' || (await this.counted()) >= from + more ? { text } : undefined;
    });
    if (complaint.text !== '') throw new Error(`the guest complains: ${complaint.text}`);
    return from;
  }

  /** What it has found wrong; waits until there is something. */
  async complaint(): Promise<string> {
    let text = '';
    await within(GO_DEADLINE_MS, 'the guest complains', async () => {
      text = await this.console.must('cat /tmp/complaint');
      return text !== '';
    });
    return text;
  }

  close(): void {
    this.console.close();
  }
}
