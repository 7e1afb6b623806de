/** Work for a guest's disk that checks itself and goes on until it is told to stop; it lives in the guest. */
import type { GuestConsole } from '../helpers/guest-console.js';

/** The part of the disk that is worked on. */
const AREA_MIB = 4;
/** A pass under way is finished first: some thousand requests, at worst while a sheep is away. */
const STOP_DEADLINE_MS = 300_000;

/** One pass of fio: all of the area written at random with checksums, read back meanwhile and at its end. */
export interface LoadPass {
  readonly number: number;
  readonly status: number;
  /** The slowest request, as the guest saw it. */
  readonly latencyMaxMs: number;
}

// Each pass has a seed of its own, which fio keeps in each block: what is left of an older pass is found out.
const SCRIPT = [
  'pass=0',
  'while [ ! -e /tmp/stop ]; do pass=$((pass + 1))',
  'fio --name=load --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=4 --rw=randwrite --bs=4k' +
    ` --size=${AREA_MIB}m --verify=crc32c --verify_fatal=1 --verify_backlog=512 --randseed=$pass` +
    ' --output-format=json > /tmp/pass 2>&1',
  'status=$?',
  // The largest of the maxima of total latency, reads and writes, in nanoseconds.
  `most=$(awk '/"lat_ns"/ {on = 1} on && /"max"/ {gsub(/[^0-9]/, ""); if ($0 + 0 > m) m = $0 + 0; on = 0}` +
    ` END {printf "%.0f", m}' /tmp/pass)`,
  'echo $pass $status $most >> /tmp/passes',
  '[ $status = 0 ] || { cp /tmp/pass /tmp/failed; break; }',
  'done',
  'touch /tmp/done',
].join('; ');

export class MigrationLoad {
  /** Starts the work; it goes on wherever the guest does. */
  static async start(console: GuestConsole): Promise<void> {
    await console.must(`sh -c ${quote(SCRIPT)} > /tmp/load.out 2>&1 &`);
  }

  /** Tells of the passes that have ended. */
  static async passes(console: GuestConsole): Promise<LoadPass[]> {
    const text = await console.must('cat /tmp/passes 2> /dev/null; true');
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => {
        const [number, status, nanoseconds] = line.split(' ').map(Number) as [number, number, number];
        return { number, status, latencyMaxMs: nanoseconds / 1e6 };
      });
  }

  /** Ends the work after the pass under way, which verifies what it wrote. */
  static async stop(console: GuestConsole): Promise<LoadPass[]> {
    await console.must('touch /tmp/stop; until [ -e /tmp/done ]; do sleep 1; done', STOP_DEADLINE_MS);
    return MigrationLoad.passes(console);
  }

  /** Throws what fio found, or what the guest's kernel says of its disk. */
  static async check(console: GuestConsole): Promise<void> {
    const failed = await console.must('cat /tmp/failed 2> /dev/null; true');
    if (failed !== '') throw new Error(`fio failed in the guest:\n${failed}`);
    const kernel = await console.must('dmesg | grep -iE "i/o error|blk_update|hung task|buffer error"; true');
    if (kernel !== '') throw new Error(`the guest's kernel complains:\n${kernel}`);
  }
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
