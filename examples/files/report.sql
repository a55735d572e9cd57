-- Turnover per country and month, largest first.
SELECT country,
       strftime('%Y-%m', ordered_at) AS month,
       SUM(line.count * line.price)  AS turnover
FROM orders
JOIN customers ON customers.id = orders.customer_id
JOIN order_lines AS line ON line.order_id = orders.id
WHERE orders.paid = 1
GROUP BY country, month
HAVING turnover > 1000
ORDER BY turnover DESC;
