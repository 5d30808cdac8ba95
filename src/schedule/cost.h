/* Closed-form cost of each algorithm, in seconds, for the choice among them: alpha-beta-gamma with what distinguishes real
 * links: a per-message overhead, ranks that share cores, and ranks that share a host's link. Formulas are those at the top of
 * the algorithms' files. Only the order of the results matters, within a factor of about 1.5. */
#ifndef C4_SCHEDULE_COST_H
#define C4_SCHEDULE_COST_H

#include "schedule/schedule.h"

double c4_cost_direct(const c4_query *query);
double c4_cost_rsag(const c4_query *query);
double c4_cost_ring(const c4_query *query);
double c4_cost_rhd(const c4_query *query);
double c4_cost_tree(const c4_query *query);
double c4_cost_bruck(const c4_query *query);
double c4_cost_pairwise(const c4_query *query);
double c4_cost_mapped(const c4_query *query);
double c4_cost_hierarchical(const c4_query *query);

#endif
