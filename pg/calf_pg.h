/*
 * calf_pg.h - forced into every file of PostgreSQL that calf builds (-include)
 *
 * The rule that matters: a process of PostgreSQL can wake up on another thread
 * than the one it fell asleep on, so the address of errno must be asked for
 * afresh at every use.  glibc declares __errno_location() `const`, which lets
 * GCC keep one answer across a blocking call; this is the same function under
 * a name without that promise.  It links and runs outside calf as well.
 *
 * Also, no program is to carry the path of the directory it was built in.  PostgreSQL's messages
 * name the file alone, whatever __FILE__ says.
 */
#pragma GCC system_header /* lets __FILE__ be redefined */
#ifndef CALF_PG_H
#define CALF_PG_H

#ifndef __ASSEMBLER__
#include <errno.h>
#undef errno
extern int *calf_errno(void) __asm__("__errno_location");
#define errno (*calf_errno())
#ifdef __FILE_NAME__
#define __FILE__ __FILE_NAME__
#endif
#endif

#endif
