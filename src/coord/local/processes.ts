import { readFileSync, readlinkSync } from 'node:fs';
import { AppError } from '../../base/errors.js';

/** 'unknown': it cannot be told from here, so only time can end its leases. */
export type Liveness = 'alive' | 'dead' | 'unknown';

/** The seam through which processes of one host know each other. Identities are opaque texts without spaces. */
export interface Processes {
  selfIdentity(): string;
  /** 'dead' only when it is certain that no instruction of that process will ever run again. */
  liveness(identity: string): Liveness;
  /**
   * A cheap look, one system call: true as long as there is a process of that number here, which may be a dead one that
   * its parent has not asked for, or even another one. False: `liveness` can tell more.
   */
  isListed(identity: string): boolean;
}

/**
 * Processes of this Linux host. An identity is boot id, pid namespace, pid and start time (clock ticks since boot):
 * `8b0f.../4026531836/1234/567890`. A pid that was given to another process has another start time; another boot
 * killed everything before it; in another pid namespace (a container) pids mean something else.
 */
export class LinuxProcesses implements Processes {
  private readonly boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  private readonly namespace = readlinkSync('/proc/self/ns/pid').replace(/\D/g, '');

  selfIdentity(): string {
    const self = readStat(process.pid);
    if (typeof self === 'string') throw new AppError('system', '/proc does not show this process');
    return [this.boot, this.namespace, process.pid, self.startTicks].join('/');
  }

  isListed(identity: string): boolean {
    const [boot, namespace, pid] = identity.split('/');
    return boot === this.boot && namespace === this.namespace && Number(pid) > 0 && exists(Number(pid));
  }

  liveness(identity: string): Liveness {
    const [boot, namespace, pid, startTicks] = identity.split('/');
    if (!startTicks) return 'unknown';
    if (boot !== this.boot) return 'dead';
    if (namespace !== this.namespace) return 'unknown';
    const found = readStat(Number(pid));
    if (found === 'unknown') return 'unknown';
    // With proc's option hidepid, processes of other users are there but not shown.
    if (found === 'gone') return exists(Number(pid)) ? 'unknown' : 'dead';
    if (found.startTicks !== startTicks) return 'dead';
    // A killed process stays as a zombie until its parent asks; its other threads may still be in a system call.
    return /[ZX]/.test(found.state) && found.threads <= 1 ? 'dead' : 'alive';
  }
}

/** There is a process of this number, whatever its state and whoever's it is. */
function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

interface Stat {
  readonly state: string;
  readonly threads: number;
  readonly startTicks: string;
}

/** Fields of /proc/PID/stat (proc(5)): 'gone' when there is no such process, 'unknown' when it may not be seen. */
function readStat(pid: number): Stat | 'gone' | 'unknown' {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is the program's name in parentheses and may hold anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { state: fields[0]!, threads: Number(fields[17]), startTicks: fields[19]! };
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === 'ENOENT' || code === 'ESRCH' ? 'gone' : 'unknown';
  }
}
