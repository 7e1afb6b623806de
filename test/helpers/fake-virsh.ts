/** A `virsh` of two hypervisors, `src` and `dst`, first on PATH, with one domain that is where the script says. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface FakeVirshOptions {
  /** Of the domain `web`, as the source prints it. */
  readonly domain: string;
  /** What `virsh migrate` does: shell, in a folder where `moved` is the domain's place once it is there. */
  readonly migrate?: string;
  /** More cases, before the usual ones: patterns over `URI WORDS`. */
  readonly cases?: string;
}

export class FakeVirsh {
  constructor(
    private readonly folder: string,
    { domain, migrate = 'touch moved', cases = '' }: FakeVirshOptions,
  ) {
    writeFileSync(join(folder, 'domain.xml'), domain);
    const script = `#!/bin/sh
cd ${folder}
shift
[ "$1" = -c ] && uri=$2 && shift 2
echo "$uri $*" >> calls
absent() { echo "error: failed to get domain 'web'" >&2; exit 1; }
case "$uri $*" in
${cases}
"src migrate "*) ${migrate} ;;
*" version"*) printf 'Running hypervisor: QEMU 10.0.2\\nRunning against daemon: 11.3.0\\n' ;;
*" hostname"*) echo "$uri" ;;
*" capabilities"*) echo "<capabilities><host><uuid>$uri</uuid></host></capabilities>" ;;
"src dominfo"*) printf 'State:          running\\nPersistent:     yes\\n' ;;
"src domstate"*) [ -e moved ] && absent; echo running ;;
"dst domstate"*) [ -e moved ] || absent; echo running ;;
"dst domuuid"*) [ -e moved ] || absent; echo u ;;
"src dumpxml"*) cat domain.xml ;;
"dst domjobinfo"*"--completed"*) printf 'downtime: 42\\ntime_elapsed: 1500\\ndata_processed: 4096\\n' ;;
*" domjobinfo"*) echo 'Job type:         None' ;;
"src domjobabort"*) touch aborted ;;
*) exit 0 ;;
esac
`;
    writeFileSync(join(folder, 'virsh'), script, { mode: 0o755 });
  }

  /** Of what was asked, each as `URI WORDS`. */
  get calls(): string[] {
    const file = join(this.folder, 'calls');
    return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n') : [];
  }
}
